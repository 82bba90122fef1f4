//! What comes near is announced once: that a key expires in 30 days, in 7 days, tomorrow.
//!
//! Once per key, threshold and end: if the end is moved, it is announced anew. A key whose end is nearer than two thresholds at once
//! is announced at the nearer one only. What no endpoint wants to know is not announced, and is not remembered as if it were.
//!
//! What was announced stays where it is looked for until it is over, so a run looks at so many keys only, and the next one goes on there.

use std::{collections::HashMap, sync::Mutex};

use chrono::TimeDelta;
use serde_json::json;
use tollgate_db::DbId;
use tollgate_kernel::{Fault, KeyId, Timestamp};

use crate::{
    KeysService,
    caller::Caller,
    store::{Change, Deed, KeyRow, NoticeRow, Place},
    webhooks::event::Event,
};

/// The names of the thresholds, and their days; the nearest first.
const THRESHOLDS: [(&str, i64); 3] = [("expiring.1", 1), ("expiring.7", 7), ("expiring.30", 30)];
/// The most pieces of one walk in one run; the rest is for the next run.
pub(crate) const PIECES_PER_RUN: usize = 20;

/// Where walks go on that one run did not end: by what they announce, and of which workspace.
#[derive(Debug, Default)]
pub(crate) struct Walks(Mutex<HashMap<(&'static str, Option<DbId>), Place>>);

impl Walks {
    /// Where this one goes on, or begins: after `from`.
    pub(crate) fn place(&self, kind: &'static str, of: Option<DbId>, from: Timestamp) -> Place {
        let begin = Place { at: from.into(), key: None };
        let left = self.0.lock().expect("not poisoned").get(&(kind, of)).copied();
        left.filter(|it| it.at > begin.at).unwrap_or(begin)
    }

    /// It is there; `None`: at its end.
    pub(crate) fn leave(&self, kind: &'static str, of: Option<DbId>, place: Option<Place>) {
        let mut places = self.0.lock().expect("not poisoned");
        match place {
            Some(place) => places.insert((kind, of), place),
            None => places.remove(&(kind, of)),
        };
    }
}

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
            let (from, until) = (now + TimeDelta::days(nearer), now + TimeDelta::days(days));
            let mut place = Some(self.walks.place(kind, Some(workspace), from));
            for _ in 0..PIECES_PER_RUN {
                let Some(after) = place else { break };
                let walked = self.store.ends_after(workspace, after, until).await?;
                for key in self.store.keys_expiring(kind, &walked).await? {
                    announced += u64::from(self.announce_end(&key, kind, days).await?);
                }
                place = walked.last().copied();
            }
            self.walks.leave(kind, Some(workspace), place);
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
