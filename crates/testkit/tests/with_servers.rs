//! `with-servers` passes on what it is told and what it hears.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

fn with_servers() -> Command {
    Command::new(env!("CARGO_BIN_EXE_with-servers"))
}

#[test]
#[ignore = "needs PostgreSQL"]
fn the_command_finds_the_servers_and_its_exit_code_is_passed_on() {
    let script = "test -n \"$TEST_DATABASE_URL\" && test -n \"$TEST_REDIS_URL\" && exit 7";
    let status = with_servers().args(["--", "sh", "-c", script]).status().unwrap();
    assert_eq!(status.code(), Some(7));
}

#[test]
#[ignore = "needs PostgreSQL"]
fn asked_to_stop_it_stops_the_command_and_all_that_that_started() {
    // The inner shell holds the pipe open, too: reading to its end shows that both are gone.
    let script = "echo up; sleep 600 & wait";
    let mut child = with_servers().args(["--", "sh", "-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "up");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert!(lines.next().is_none());
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

#[test]
fn a_named_server_that_does_not_answer_is_an_error_and_not_a_skip() {
    let nobody = "postgres://postgres@127.0.0.1:1/postgres";
    let output = with_servers().args(["--", "true"]).env("TEST_DATABASE_URL", nobody).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, "with-servers: nothing answers at TEST_DATABASE_URL\n");
}

#[test]
fn without_a_command_it_says_how_to_use_it() {
    let output = with_servers().output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "with-servers: usage: with-servers -- command…\n");
}
