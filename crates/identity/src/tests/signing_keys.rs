//! Signing keys in the life of an instance: rotation that nobody notices, and several replicas.

use std::collections::VecDeque;

use serde_json::Value;
use tollgate_kernel::Code;
use tollgate_testkit::on_every_database;
use tollgate_verify::{KeySet, access_token};

use super::support::{World, config, master, rules};

const HOUR: u64 = 3600;

async fn key_set(world: &World) -> (KeySet, usize) {
    let text = world.identity.keys.key_set().await.unwrap();
    let parsed: Value = serde_json::from_str(&text).unwrap();
    (KeySet::parse(&text).unwrap(), parsed["keys"].as_array().unwrap().len())
}

on_every_database! {
    async fn rotation_fails_nobody(database: TestDatabase) {
        let world = World::new(database).await;
        world.sign_up("ann@example.com").await;
        // Key sets as clients have them that fetched them in the last day.
        let mut cached = VecDeque::new();
        let (mut most, mut kids) = (0, std::collections::HashSet::new());
        for _ in 0..(70 * 24 / 12) {
            world.identity.maintain().await;
            let (set, keys) = key_set(&world).await;
            most = most.max(keys);
            cached.push_back(set);
            if cached.len() > 2 {
                cached.pop_front();
            }
            world.wait(12 * HOUR - 60);
            let token = world.log_in("ann@example.com").await.access_token;
            kids.insert(token.split('.').next().unwrap().to_owned());
            world.wait(60);
            for set in &cached {
                assert!(access_token(&token, set, &rules(), world.now()).is_ok());
            }
        }
        assert_eq!((kids.len(), most), (3, 2), "it did rotate, and old keys went");
    }

    async fn replicas_that_start_at_once_share_one_key(database: TestDatabase) {
        let world = World::new(database).await;
        world.identity.store.signing_keys_clear().await;
        let key = master("00");
        let replicas = (0..5).map(|_| world.replica(config(), &key));
        let replicas = futures_util::future::join_all(replicas).await;
        let mut sets = std::collections::HashSet::new();
        for replica in replicas {
            sets.insert(replica.unwrap().keys.key_set().await.unwrap());
        }
        assert_eq!(sets.len(), 1);
        assert_eq!(world.identity.store.signing_keys().await.unwrap().len(), 1);
    }

    async fn replicas_that_rotate_at_once_make_one_successor(database: TestDatabase) {
        let world = World::new(database).await;
        let mut replicas = vec![world.identity.clone()];
        for _ in 0..4 {
            replicas.push(world.replica(config(), &master("00")).await.unwrap());
        }
        world.wait(29 * 24 * HOUR);
        let all = replicas.iter().map(|identity| identity.keys.rotate());
        assert!(futures_util::future::join_all(all).await.iter().all(Result::is_ok));
        assert_eq!(key_set(&world).await.1, 2);
        world.wait(24 * HOUR);
        let mut signers = std::collections::HashSet::new();
        for identity in &replicas {
            signers.insert(identity.keys.signer().await.unwrap().kid().to_owned());
        }
        assert_eq!(signers.len(), 1, "all sign with the same key");
    }

    async fn another_master_key_is_found_out_at_the_start(database: TestDatabase) {
        let world = World::new(database).await;
        let fault = world.replica(config(), &master("01")).await.unwrap_err();
        assert_eq!(fault.code(), Code::Internal);
        assert!(fault.cause().unwrap().contains("another master key"), "{fault:?}");
    }
}
