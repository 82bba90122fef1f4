//! What it means for a credential to be valid.
