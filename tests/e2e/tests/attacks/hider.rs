//! Whoever answers in the place of the registry, or takes its rights away: a proxy, an administrator, a login that lost them. "No
//! such repository" and "you may not look" are never "there are no records".

use anyhow::Result;
use e2e::World;
use fault_proxy::{Fault, Rule};

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_is_not_shown_hides_no_lock() -> Result<()> {
    for referrers_api in [true, false] {
        let config = test_registry::Config { referrers_api, ..test_registry::Config::default() };
        let world = World::start_with(config).await?;
        let release = world.release("One").await?;
        let _ = world.verbatim(&["lock", "dev", "--reason", "incident 4711"]).await?.ends(0);
        world.argocd.forget_seen();
        let promote = ["promote", "dev", "--release", &release];
        let locked = world.verbatim(&promote).await?.ends(1);
        assert!(locked.stdout.contains("incident 4711"), "{locked}");
        for code in ["NAME_UNKNOWN", "DENIED"] {
            let refusal = || Fault::Code { status: 404, code: code.to_owned() };
            for listing in ["/referrers/", "/manifests/sha256-"] {
                world.registry_proxy.inject(Rule::new(refusal()).path(listing).always());
            }
            let run = world.verbatim(&promote).await?.ends(7);
            assert!(run.stderr.contains(code), "{run}");
            world.registry_proxy.heal();
            assert_eq!(world.writes(), [] as [&str; 0], "{run}");
        }
    }
    Ok(())
}
