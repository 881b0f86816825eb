//! Rights that would undo the four eyes: the controller itself must not be able to approve.

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube_client::Api;
use kube_client::api::PostParams;
use tidegate_crd::GROUP;

use super::controller::Installed;
use super::seen;
use crate::check::report::Finding;
use crate::cluster::{Cluster, call};

/// What only people may, verb and resource.
const PEOPLE_ONLY: [(&str, &str); 5] = [
    ("approve", "vpnusers"),
    ("review", "vpnusers"),
    ("restore", "vpnusers"),
    ("publish", "accesspolicies"),
    ("supervise", "departments"),
];

/// Asks the API server what the controller may.
pub(crate) async fn check(cluster: &Cluster, installed: &Installed) -> Vec<Finding> {
    let Installed { namespace, service_account, .. } = installed;
    let user = format!("system:serviceaccount:{namespace}:{service_account}");
    let reviews: Api<SubjectAccessReview> = Api::all(cluster.client.clone());
    let mut may = Vec::new();
    for (verb, resource) in PEOPLE_ONLY {
        let attributes = ResourceAttributes {
            group: Some(GROUP.into()),
            resource: Some(resource.into()),
            verb: Some(verb.into()),
            ..ResourceAttributes::default()
        };
        let spec = SubjectAccessReviewSpec {
            user: Some(user.clone()),
            groups: Some(vec![
                "system:serviceaccounts".into(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".into(),
            ]),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let answer = call(reviews.create(&PostParams::default(), &review)).await;
        match seen("rights-controller", "what the controller may", answer, &cluster.address) {
            Err(finding) => return vec![finding],
            Ok(review) => {
                if review.and_then(|review| review.status).is_some_and(|status| status.allowed) {
                    may.push(format!("{verb} {resource}"));
                }
            }
        }
    }
    vec![if may.is_empty() {
        Finding::ok(
            "rights-controller",
            format!("{user} can neither approve, review, restore, publish nor supervise"),
        )
    } else {
        let what = format!("{user} may {}", may.join(", "));
        let hint = "take that role away from it: nobody would decide beside the program any more";
        Finding::error("rights-controller", what, hint)
    }]
}
