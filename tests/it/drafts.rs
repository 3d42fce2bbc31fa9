//! What is deployed by somebody: from a draft, an older deployment, or what is in force already.

use passerby::deployment::{DeployError, Origin};
use passerby_actors::domain::Family;

use crate::deployments::{anonymous, at_once, by, deploy, number};
use crate::world::{CREATE, World};

#[actix_web::test]
async fn a_draft_waits_and_whoever_did_not_see_its_last_change_is_told_who_made_it() {
    let world = World::new();
    world
        .serve(async |server| {
            let (handle, deployments) = (server.handle(), &server.server.deployments);
            let change = async |by: &str, seen, enabled| {
                deployments.change_draft(&handle, by, (seen, 1), anonymous(enabled)).await
            };
            assert_eq!(change("ada", 0, false).await.unwrap().revision, 1);
            let moved = change("bob", 0, true).await.unwrap_err();
            assert_eq!(moved.to_string(), "the draft is not as you saw it: ada has changed it since");
            let both = at_once(server, change("ada", 1, false), change("bob", 1, true)).await;
            assert_eq!(both.0.unwrap().revision, 2);
            assert!(matches!(both.1, Err(DeployError::DraftMoved(Some(draft))) if draft.by == "ada"));
            assert_eq!((number(server), server.call(CREATE).send().await.status), (1, 201), "it waits");
        })
        .await;
    world
        .serve(async |server| {
            let (handle, deployments) = (server.handle(), &server.server.deployments);
            assert_eq!(deployments.draft(&handle).unwrap().unwrap().revision, 2, "a restart keeps it");
            let old = deployments.deploy_draft(&handle, by("bob"), (1, None)).await;
            assert!(matches!(old, Err(DeployError::DraftMoved(Some(_)))));
            assert_eq!(deployments.deploy_draft(&handle, by("bob"), (2, None)).await.unwrap().number, 2);
            assert_eq!(deployments.draft(&handle).unwrap(), None);
            server.call(CREATE).send().await.assert_problem(403, "provider-disabled");
            let next = deployments.change_draft(&handle, "bob", (0, 2), anonymous(false)).await.unwrap();
            assert_eq!(next.revision, 3, "whoever saw one that is over has not seen this one");
            deployments.discard_draft(&handle, 3).await.unwrap();
            assert_eq!(deployments.draft(&handle).unwrap(), None);
            let gone = deployments.discard_draft(&handle, 0).await;
            assert!(matches!(gone, Err(DeployError::DraftMoved(None))), "{gone:?}");
        })
        .await;
    world
        .serve(async |server| {
            let (handle, deployments) = (server.handle(), &server.server.deployments);
            let next = deployments.change_draft(&handle, "bob", (0, 2), anonymous(true)).await.unwrap();
            assert_eq!(next.revision, 4, "a restart forgets none");
        })
        .await;
}

#[actix_web::test]
async fn a_draft_does_not_undo_what_was_deployed_beside_it() {
    World::new()
        .serve(async |server| {
            let (handle, deployments) = (server.handle(), &server.server.deployments);
            deployments.change_draft(&handle, "ada", (0, 1), anonymous(true)).await.unwrap();
            deploy(server, &handle, &anonymous(false)).await.unwrap();
            // a change of it is no look at what is in force
            deployments.change_draft(&handle, "ada", (1, 2), anonymous(true)).await.unwrap();
            let deployed = deployments.deploy_draft(&handle, by("ada"), (2, None)).await;
            assert!(matches!(deployed, Err(DeployError::DraftBehind(last)) if last.by == "a test"));
            let early = deployments.deploy_draft(&handle, by("ada"), (2, Some(1))).await;
            assert!(matches!(early, Err(DeployError::DraftBehind(_))));
            assert_eq!(number(server), 2);
            assert_eq!(deployments.deploy_draft(&handle, by("ada"), (2, Some(2))).await.unwrap().number, 3);
        })
        .await;
}

#[actix_web::test]
async fn an_older_deployment_is_deployed_again_under_a_number_of_its_own() {
    World::new()
        .serve(async |server| {
            let (handle, deployments) = (server.handle(), &server.server.deployments);
            deployments.deploy_app(&handle, by("ada"), 1, anonymous(false)).await.unwrap();
            let stale = deployments.deploy_app(&handle, by("bob"), 1, anonymous(false)).await;
            assert!(matches!(stale, Err(DeployError::Moved(Some(_)))));
            server.call(CREATE).send().await.assert_problem(403, "provider-disabled");
            let stale = deployments.redeploy(&handle, by("bob"), 1, 1).await;
            assert!(matches!(stale, Err(DeployError::Moved(Some(last))) if last.number == 2));
            assert_eq!(deployments.redeploy(&handle, by("ada"), 2, 1).await.unwrap().number, 3);
            assert_eq!(server.call(CREATE).send().await.status, 201);
            assert!(matches!(deployments.redeploy(&handle, by("ada"), 0, 9).await, Err(DeployError::NoSuch(9))));
            let origins: Vec<_> = deployments.list(&handle).unwrap().iter().map(|one| one.origin).collect();
            assert_eq!(origins, [Origin::Redeploy(1), Origin::Api, Origin::Default]);
        })
        .await;
}

/// A hundred of them would push out all that one can go back to.
#[actix_web::test]
async fn what_is_in_force_already_is_no_deployment() {
    World::new()
        .serve(async |server| {
            let (handle, deployments) = (server.handle(), &server.server.deployments);
            let before = server.server.app().content.clone();
            let same = deployments.deploy_app(&handle, by("ada"), 1, before.clone()).await.unwrap();
            assert_eq!((same.number, same.by.as_str()), (1, "serve"));
            assert_eq!(deployments.redeploy(&handle, by("ada"), 0, 1).await.unwrap().number, 1);
            deployments.change_draft(&handle, "ada", (0, 1), before).await.unwrap();
            assert_eq!(deployments.deploy_draft(&handle, by("ada"), (1, None)).await.unwrap().number, 1);
            assert_eq!(deployments.draft(&handle).unwrap(), None, "it ends all the same");
            assert_eq!(handle.own_count(Family::DEPLOYMENT), 1);
        })
        .await;
}
