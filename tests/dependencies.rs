//! What is depended on is what deny.toml allows.

use anyhow::{Context, Result};
use cargo_metadata::{CargoOpt, Metadata, MetadataCommand, Package};
use serde::Deserialize;
use spdx::{Expression, Licensee};

/// The part of deny.toml that can be checked without the database of advisories.
#[derive(Deserialize)]
struct Policy {
    graph: Graph,
    advisories: Advisories,
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Graph {
    targets: Vec<String>,
}

#[derive(Deserialize)]
struct Advisories {
    ignore: Vec<Ignored>,
}

#[derive(Deserialize)]
struct Ignored {
    id: String,
    reason: String,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Banned>,
}

#[derive(Deserialize)]
struct Banned {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

fn policy() -> Result<Policy> {
    toml::from_str(include_str!("../deny.toml")).context("read deny.toml")
}

/// The tree as it is compiled for the first target that the policy names.
fn tree(policy: &Policy) -> Result<Metadata> {
    MetadataCommand::new()
        .features(CargoOpt::AllFeatures)
        .other_options([
            "--locked".to_owned(),
            "--filter-platform".to_owned(),
            policy.graph.targets[0].clone(),
        ])
        .exec()
        .context("read the tree of dependencies")
}

fn is_ours(package: &Package) -> bool {
    package.source.is_none()
}

#[test]
fn every_licence_is_one_that_is_allowed() {
    let policy = policy().unwrap();
    let allowed: Vec<Licensee> =
        policy.licenses.allow.iter().map(|licence| Licensee::parse(licence).unwrap()).collect();
    let tree = tree(&policy).unwrap();
    assert!(tree.packages.len() > 100, "the tree has {} packages", tree.packages.len());
    for package in tree.packages.iter().filter(|package| !is_ours(package)) {
        let licence = package.license.as_deref().unwrap_or("none");
        let expression = Expression::parse_mode(licence, spdx::ParseMode::LAX)
            .unwrap_or_else(|error| panic!("the licence of {} is {licence}: {error}", package.name));
        let is_allowed =
            expression.evaluate(|required| allowed.iter().any(|licensee| licensee.satisfies(required)));
        assert!(is_allowed, "{} {}: {licence} is not allowed by deny.toml", package.name, package.version);
    }
}

#[test]
fn everything_comes_from_the_registry_and_nothing_is_banned() {
    let policy = policy().unwrap();
    for package in tree(&policy).unwrap().packages {
        if let Some(source) = &package.source {
            assert!(source.is_crates_io(), "{} comes from {source}", package.name);
        }
        for banned in &policy.bans.deny {
            assert_ne!(package.name.as_str(), banned.name, "banned by deny.toml: {}", banned.reason);
        }
    }
}

#[test]
fn every_advisory_that_is_ignored_is_of_a_crate_that_is_there_and_is_judged() {
    let policy = policy().unwrap();
    let tree = tree(&policy).unwrap();
    let judged = include_str!("../docs/decisions/nats-client.md");
    for Ignored { id, reason } in &policy.advisories.ignore {
        assert!(judged.contains(id.as_str()), "{id} is not in docs/decisions/nats-client.md");
        let (name, _) = reason.split_once(": ").unwrap();
        let is_compiled = tree.packages.iter().any(|package| package.name.as_str() == name);
        assert!(is_compiled || reason.contains("WebAssembly only"), "{id}: {name} has gone from the tree");
    }
}
