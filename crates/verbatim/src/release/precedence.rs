//! How a release stands to the one that runs in an environment: asks git, and where that does not tell, the build record
//! of the other release. Which of two origins is newer is judged in `newer`.

use jiff::Timestamp;
use verbatim_policy::Order;
use verbatim_record::{Chain, Provenance, Records};

use crate::project::{Project, git};
use crate::promotion::gather;
use crate::records::store::{Store, Wanted};
use crate::release::Release;
use crate::release::newer::{self, Ancestry, Origin};

/// How a release stands to the one that the ledger has. What cannot be found out cannot be compared.
pub(crate) async fn order(
    project: &Project,
    store: &Store,
    ledger: &Chain,
    records: Option<&Records>,
    release: &Release,
    now: Timestamp,
) -> Order {
    let Some(there) = gather::running(ledger) else { return Order::First };
    if there.digest == release.digest {
        return Order::Same;
    }
    let ours = records.map(gather::origin).unwrap_or_default();
    let theirs = Origin { commit: there.commit.clone(), ..Origin::default() };
    let ancestry = ancestry(project, &ours, &theirs).await;
    let mut order = newer::order(&ours, &theirs, ancestry);
    if matches!(order, newer::Order::Unrelated | newer::Order::Same) {
        // Git does not tell; the runs that built the two may.
        let ring = &project.config.policy.ring;
        let wanted = Wanted::only::<Provenance>();
        if let Ok(records) = store.of_release(ring, there.digest, &wanted, now).await {
            order = newer::order(&ours, &gather::origin(&records), ancestry);
        }
    }
    match order {
        newer::Order::Newer => Order::Newer,
        newer::Order::Older => Order::Older(there.digest),
        newer::Order::Same => Order::Same,
        newer::Order::Unrelated => Order::Unrelated(there.digest),
    }
}

async fn ancestry(project: &Project, ours: &Origin, theirs: &Origin) -> Ancestry {
    let (Some(ours), Some(theirs)) = (&ours.commit, &theirs.commit) else {
        return Ancestry::Unknown;
    };
    let folder = project.folder();
    let (forward, back) =
        tokio::join!(git::descends(folder, ours, theirs), git::descends(folder, theirs, ours));
    match (forward.ok().flatten(), back.ok().flatten()) {
        (Some(true), _) => Ancestry::Descends,
        (_, Some(true)) => Ancestry::Precedes,
        (Some(false), Some(false)) => Ancestry::Apart,
        _ => Ancestry::Unknown,
    }
}
