//! What comes near is announced once: that a key expires in 30 days, in 7 days, tomorrow.
//!
//! Once per key, threshold and end: if the end is moved, it is announced anew. A key whose end is nearer than two thresholds at once
//! is announced at the nearer one only. What no endpoint wants to know is not announced, and is not remembered as if it were.

use chrono::TimeDelta;
use serde_json::json;
use tollgate_db::DbId;
use tollgate_kernel::{Fault, KeyId};

use crate::{
    KeysService,
    caller::Caller,
    store::{Change, Deed, KeyRow, NoticeRow},
    webhooks::event::Event,
};

/// The names of the thresholds, and their days; the nearest first.
const THRESHOLDS: [(&str, i64); 3] = [("expiring.1", 1), ("expiring.7", 7), ("expiring.30", 30)];
/// The most pieces of one workspace and threshold in one run; the rest is for the next run.
const PIECES_PER_RUN: usize = 10;

impl KeysService {
    /// Announces what is near, and says of how many keys.
    pub(crate) async fn announce_ends(&self) -> Result<u64, Fault> {
        let mut announced = 0;
        for workspace in self.store.workspaces_listening(Event::KeyExpiring).await? {
            announced += self.announce_ends_of(workspace).await?;
        }
        Ok(announced)
    }

    async fn announce_ends_of(&self, workspace: DbId) -> Result<u64, Fault> {
        let (now, mut announced) = (self.clock.now(), 0);
        let mut nearer = 0;
        for (kind, days) in THRESHOLDS {
            let span = (now + TimeDelta::days(nearer), now + TimeDelta::days(days));
            for _ in 0..PIECES_PER_RUN {
                let keys = self.store.keys_expiring(workspace, kind, span.0, span.1).await?;
                if keys.is_empty() {
                    break;
                }
                for key in keys {
                    announced += u64::from(self.announce_end(&key, kind, days).await?);
                }
            }
            nearer = days;
        }
        Ok(announced)
    }

    async fn announce_end(&self, key: &KeyRow, kind: &str, days: i64) -> Result<bool, Fault> {
        let Some(due_at) = key.expires_at else { return Ok(false) };
        let deed = Deed {
            caller: &Caller::SYSTEM,
            workspace: key.workspace_id.typed(),
            action: "key.expiring",
            target: KeyId::from(key.id).to_string(),
            at: self.clock.now(),
        };
        let change = Change::grants(&self.store, deed).noting("days", json!(days));
        let notice = NoticeRow { subject_id: key.id, kind: kind.to_owned(), due_at };
        self.store.announce_once(change, vec![notice]).await
    }
}
