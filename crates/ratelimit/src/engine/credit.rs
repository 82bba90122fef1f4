//! Credits: units that were deposited and are spent. Time brings none back.
//!
//! Deposits and withdrawals are steps, numbered upwards by whoever makes them: one that was made is not made again, nor is one
//! that is older than the last. Steps are of an epoch, which a state is given when it begins: a state that was lost and begun
//! anew has another one, so that what may have been deposited before is not deposited again.

use super::{Counted, Outlook, State};

/// What remains of an account here. None of the numbers reaches 2^53.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Credit {
    /// Tells it from all others that were begun for the account. Never 0 in a state.
    pub(crate) epoch: u64,
    /// Units that can be spent.
    pub(crate) left: u64,
    /// What the account had beside them, as was said with the last step.
    pub(crate) behind: u64,
    /// The last step; 0: none was made.
    pub(crate) step: u64,
    /// What the last step withdrew.
    pub(crate) withdrawn: u64,
}

/// What is to be done with an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// Of which epoch it is; of an account that is to be begun, its epoch.
    pub(crate) epoch: u64,
    /// Which step it is, 1 or more; of those that are none, 0.
    pub(crate) number: u64,
    pub(crate) kind: StepKind,
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StepKind {
    /// Begins the account if it is not there and the epoch is not 0, and says what is behind if that is known.
    Open { behind: Option<u64> },
    /// Adds units.
    Deposit { amount: u64, behind: Option<u64> },
    /// Takes all units back.
    Withdraw,
}

impl Credit {
    /// Makes a step, if it is one that is to be made.
    pub(crate) fn make(&mut self, step: Step) {
        match step.kind {
            StepKind::Open { behind } => self.behind = behind.unwrap_or(self.behind),
            _ if step.epoch != self.epoch || step.number <= self.step => {}
            StepKind::Deposit { amount, behind } => {
                (self.step, self.withdrawn) = (step.number, 0);
                self.left += amount;
                self.behind = behind.unwrap_or(self.behind);
            }
            StepKind::Withdraw => {
                (self.step, self.withdrawn) = (step.number, self.left);
                self.left = 0;
            }
        }
    }

    /// Gives back what was spent of this epoch; and how much that is.
    pub(super) fn give_back(&mut self, epoch: u64, back: u64) -> u64 {
        let back = if epoch == self.epoch { back } else { 0 };
        self.left += back;
        back
    }
}

impl Step {
    /// What is begun by this step at an account that is not there, if anything is.
    pub(crate) fn begins(self) -> Option<Credit> {
        let begins = matches!(self.kind, StepKind::Open { .. }) && self.epoch != 0;
        begins.then(|| Credit { epoch: self.epoch, ..Credit::default() })
    }
}

/// Units of this state that can be spent.
pub(super) fn left(state: Option<&State>) -> u64 {
    credit(state).left
}

/// How it stands.
pub(super) fn outlook(state: Option<&State>, exceeded: bool) -> Outlook {
    let Credit { left, behind, step, .. } = credit(state);
    Outlook { limit: step, remaining: left, reset: behind.cast_signed(), period: 0, exceeded }
}

fn credit(state: Option<&State>) -> Credit {
    match state.map(|state| &state.counted) {
        Some(Counted::Credit(credit)) => *credit,
        _ => Credit::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deposit(epoch: u64, number: u64, amount: u64) -> Step {
        Step { epoch, number, kind: StepKind::Deposit { amount, behind: Some(7) } }
    }

    fn withdraw(epoch: u64, number: u64) -> Step {
        Step { epoch, number, kind: StepKind::Withdraw }
    }

    fn after(steps: &[Step]) -> Credit {
        let mut credit = Credit { epoch: 1, ..Credit::default() };
        for step in steps {
            credit.make(*step);
        }
        credit
    }

    #[test]
    fn a_step_is_made_once_and_in_its_epoch() {
        let once = after(&[deposit(1, 1, 10)]);
        assert_eq!(once, Credit { epoch: 1, left: 10, behind: 7, step: 1, withdrawn: 0 });
        assert_eq!(after(&[deposit(1, 1, 10), deposit(1, 1, 10)]), once);
        assert_eq!(after(&[deposit(1, 1, 10), deposit(2, 2, 10)]), once, "of what was lost");
        assert_eq!(after(&[deposit(1, 5, 1), deposit(1, 4, 10)]).left, 1, "late");
    }

    #[test]
    fn a_withdrawal_says_again_what_it_took() {
        let taken = after(&[deposit(1, 1, 10), withdraw(1, 2), withdraw(1, 2)]);
        assert_eq!((taken.left, taken.step, taken.withdrawn), (0, 2, 10));
        let later = after(&[deposit(1, 1, 10), withdraw(1, 2), deposit(1, 3, 4), withdraw(1, 2)]);
        assert_eq!((later.left, later.step, later.withdrawn), (4, 3, 0));
    }

    #[test]
    fn only_opening_begins_an_account() {
        let open = |epoch| Step { epoch, number: 0, kind: StepKind::Open { behind: None } };
        assert_eq!(open(3).begins().map(|it| it.epoch), Some(3));
        assert_eq!([open(0), deposit(1, 1, 1), withdraw(1, 1)].map(Step::begins), [None; 3]);
    }

    #[test]
    fn what_was_spent_of_another_epoch_does_not_come_back() {
        let mut credit = after(&[deposit(1, 1, 10)]);
        assert_eq!((credit.give_back(2, 5), credit.left), (0, 10));
        assert_eq!((credit.give_back(1, 5), credit.left), (5, 15));
    }
}
