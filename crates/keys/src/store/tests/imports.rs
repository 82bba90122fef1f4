//! What tests of imports look at, and undo.

use super::*;
use crate::store::schema::{audit_events, imported_secrets};

type Columns = (Vec<u8>, Option<Vec<u8>>, Option<Vec<u8>>, Option<String>, Option<String>);

impl Store {
    /// How imported keys are found, and what was done by whom, as text.
    pub(crate) async fn imports_and_deeds(&self) -> String {
        let imports: Vec<Columns> = read_db!(self.db, |c| imported_secrets::table
            .order(imported_secrets::fingerprint)
            .select((
                imported_secrets::fingerprint,
                imported_secrets::sha256,
                imported_secrets::sha512,
                imported_secrets::slow,
                imported_secrets::prefix
            ))
            .load(c)
            .await)
        .expect("read");
        let deeds: Vec<(String, String)> = read_db!(self.db, |c| audit_events::table
            .order(audit_events::id)
            .select((audit_events::action, audit_events::actor))
            .load(c)
            .await)
        .expect("read");
        format!("{imports:?} {deeds:?}")
    }

    /// As if none had been imported; the keys stay.
    pub(crate) async fn forget_imports(&self) {
        let gone = write_db!(self.db, |c| diesel::delete(imported_secrets::table).execute(c).await);
        gone.expect("deleted");
    }
}
