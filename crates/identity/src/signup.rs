//! New users: those who sign up, and the operators that are made from the command line.

use std::net::IpAddr;

use secrecy::{ExposeSecret, SecretString};
use tollgate_changes::{Cut, Entry};
use tollgate_db::Error;
use tollgate_kernel::{Code, Fault, Timestamp, UserId};
use tollgate_verify::Subject;

use crate::{
    IdentityService,
    email::Email,
    hasher::Check,
    password::Password,
    store::{Action, AuditEvent, UserRow},
};

const MAX_NAME_CHARACTERS: usize = 200;

/// A sign-up that keeps the rules.
#[derive(Debug)]
pub(crate) struct NewUser {
    pub(crate) email: Email,
    pub(crate) password: Password,
    pub(crate) name: Option<String>,
    pub(crate) ip: Option<IpAddr>,
}

/// A name for a person to read: 1 to 200 characters, none of them a control character.
pub(crate) fn name(text: Option<&str>) -> Result<Option<String>, Fault> {
    let Some(text) = text else { return Ok(None) };
    if text.is_empty() || text.chars().count() > MAX_NAME_CHARACTERS {
        return Err(Fault::invalid("/name", "must have 1 to 200 characters"));
    }
    if text.chars().any(char::is_control) {
        return Err(Fault::invalid("/name", "holds a control character"));
    }
    Ok(Some(text.to_owned()))
}

impl IdentityService {
    /// Makes a user.
    ///
    /// That an address is taken is said plainly: whoever may sign up freely can find that out in any case, as long as
    /// addresses are not confirmed by mail.
    pub(crate) async fn sign_up(&self, new: NewUser) -> Result<UserRow, Fault> {
        self.throttle.signup(new.ip).await?;
        let hash = self.hasher.hash(new.password).await?;
        let user = UserRow { name: new.name, ..self.user_row(&new.email, hash) };
        let event = self.event(Action::Signup).user(user.id()).from(new.ip);
        match self.store.user_insert(&user, &event).await {
            Err(Error::Unique(_)) => Err(Fault::new(Code::Conflict, "This e-mail address is taken.")),
            Err(error) => Err(error.into()),
            Ok(()) => {
                tracing::info!(user = %user.id(), ip = ?new.ip, "user signed up");
                Ok(user)
            }
        }
    }

    /// Makes an operator, an instance administrator: a new user, or an existing one, who is promoted.
    ///
    /// An existing user's password is never changed by this, and must be given: addresses are not confirmed, so a stranger
    /// may have signed up with the operator's address, and must not be promoted by it. Doing it again changes nothing.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`] for an address or a password that breaks the rules (15 to 256 characters);
    /// [`Code::Conflict`] if the user exists with another password, or is disabled.
    pub async fn create_operator(&self, email: &str, password: &SecretString) -> Result<UserId, Fault> {
        let email = Email::parse(email)?;
        match self.store.user_by_email(email.key()).await? {
            Some(user) => self.promote(user, Password::presented(password.expose_secret())?).await,
            None => self.new_operator(&email, Password::chosen(password.expose_secret())?).await,
        }
    }

    async fn new_operator(&self, email: &Email, password: Password) -> Result<UserId, Fault> {
        let hash = self.hasher.hash(password).await?;
        let user = UserRow { operator: true, ..self.user_row(email, hash) };
        let event = self.event(Action::OperatorCreated).user(user.id());
        match self.store.user_insert(&user, &event).await {
            Err(Error::Unique(_)) => {
                Err(Fault::new(Code::Conflict, "This user was made just now; try again."))
            }
            Err(error) => Err(error.into()),
            Ok(()) => {
                tracing::info!(user = %user.id(), "operator created");
                Ok(user.id())
            }
        }
    }

    async fn promote(&self, user: UserRow, password: Password) -> Result<UserId, Fault> {
        let right = self.hasher.check(password, &user.password_hash).await? != Check::Wrong;
        if !right || user.disabled_at.is_some() {
            let rule = "This user exists. To make it an operator, give its present password; it must not be disabled.";
            return Err(Fault::new(Code::Conflict, rule));
        }
        let id = user.id();
        if !user.operator {
            let event = self.event(Action::OperatorPromoted).user(id);
            let store = self.store.clone();
            let (cut, now) = (Cut { subject: Subject::User(id), wait: true }, self.clock.now());
            let entry = self.entry(cut, now);
            let work = async move { store.user_make_operator(id, entry, &event).await };
            self.feed.carry_out(Some(cut), work).await?;
            tracing::info!(user = %id, "operator promoted");
        }
        Ok(id)
    }

    fn user_row(&self, email: &Email, password_hash: String) -> UserRow {
        UserRow {
            id: UserId::new(&*self.clock, &*self.entropy).into(),
            email: email.given().to_owned(),
            email_key: email.key().to_owned(),
            name: None,
            password_hash,
            operator: false,
            created_at: self.clock.now().into(),
            disabled_at: None,
        }
    }

    /// What goes into the log of changes for `cut`.
    pub(crate) fn entry(&self, cut: Cut, now: Timestamp) -> Entry {
        Entry::new(cut.subject, now, &*self.entropy)
    }

    /// An audit event of now.
    pub(crate) fn event(&self, action: Action) -> AuditEvent {
        AuditEvent::new(action, &*self.clock, &*self.entropy)
    }
}
