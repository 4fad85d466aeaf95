//! Signs a lock with a fresh key, verifies it, and shows what happens to a copy that somebody changed.

use std::collections::BTreeSet;

use verbatim_record::{
    Bundle, CiRun, EnvironmentArtifact, EnvironmentId, Expectation, KeyLife, KeyRing, KeyScope,
    Lock, Role, SigningKey, Statement, TrustedKey, sign, verify,
};

#[expect(clippy::print_stdout, reason = "it is a program")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let key = fresh_key()?;
    let ring = KeyRing::new([TrustedKey {
        name: "ci".to_owned(),
        key: key.verifying_key().into(),
        roles: BTreeSet::from([Role::PROMOTER]),
        actors: BTreeSet::new(),
        scope: KeyScope::ANYTHING,
        life: KeyLife::UNLIMITED,
    }])?;
    let environment = EnvironmentId::new("shop", "production")?;
    let now = "2026-11-24T12:00:00Z".parse()?;

    let lock = Lock {
        seen: Vec::new(),
        environment: environment.clone(),
        lifts: Vec::new(),
        reason: "the database moves".to_owned(),
        at: now,
        until: None,
        run: CiRun::default(),
    };
    let bundle = sign(&Statement::lock(lock), &key)?;
    println!("record {}, to attach to:", bundle.digest());
    bundle.attachment().subjects.iter().for_each(|subject| println!("  {subject}"));

    let subject = *EnvironmentArtifact::of(&environment).digest();
    let expected = Expectation { subject, environment: Some(environment), project: None, now };
    let verified = verify::<Lock>(bundle.bytes(), &ring, &expected)?;
    println!("signed by {}: {}", verified.signed_by(), verified.predicate().reason);

    let stranger = fresh_key()?;
    let forged: Bundle = sign(verified.statement(), &stranger)?;
    match verify::<Lock>(forged.bytes(), &ring, &expected) {
        Err(rejection) => println!("by a stranger: {rejection}"),
        Ok(_) => return Err("a forged record must not count".into()),
    }
    Ok(())
}

fn fresh_key() -> Result<SigningKey, String> {
    SigningKey::generate(getrandom::fill).map_err(|error| error.to_string())
}
