//! The binary: command line, configuration, wiring of the roles, lifecycle.
