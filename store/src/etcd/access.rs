//! Who may do what in etcd: users are the names in client certificates, and no user has a password.
//!
//! `controller` may do everything. `gw:<pool>` may read its pool and write what gateways say there: two
//! grants. It reads no other pool and writes no configuration.

use etcd_client::{Client, Error, Permission, UserAddOptions};

use super::keys::{Keys, end_of};
use super::link::Link;
use super::{EtcdTls, pool_name};
use crate::{StoreError, StoreResult};

const CONTROLLER: &str = "controller";
const ROOT: &str = "root";
/// Names of the gateways' users and roles begin so.
const GATEWAYS: &str = "gw:";

/// Makes the users and roles of these pools, removes those of pools that are gone, and turns access control
/// on. Call it with the controller's certificate, after every change of the pools; repeating does nothing.
///
/// # Errors
/// When etcd does not answer or the caller is not its administrator.
pub async fn ensure_access(endpoints: &[String], tls: Option<&EtcdTls>, pools: &[String]) -> StoreResult<()> {
    // Many calls of a large client make a large future; it is not the caller's to carry.
    Box::pin(ensure(endpoints, tls, pools)).await
}

async fn ensure(endpoints: &[String], tls: Option<&EtcdTls>, pools: &[String]) -> StoreResult<()> {
    let link = Link::new(endpoints, tls).await?;
    add(&link, ROOT, &[ROOT]).await?;
    add(&link, CONTROLLER, &[ROOT]).await?;
    let mut wanted = Vec::with_capacity(pools.len());
    for pool in pools {
        let name = format!("{GATEWAYS}{}", pool_name(pool)?);
        role(&link, &name, pool).await?;
        add(&link, &name, &[&name]).await?;
        wanted.push(name);
    }
    let users = link.ask(|client: Client| async move { client.auth_client().user_list().await }).await?;
    for user in users.users().iter().filter(|user| user.starts_with(GATEWAYS) && !wanted.contains(user)) {
        made(link.ask(|c: Client| async move { c.auth_client().user_delete(user.clone()).await }).await)?;
        made(link.ask(|c: Client| async move { c.auth_client().role_delete(user.clone()).await }).await)?;
    }
    made(link.ask(|client: Client| async move { enable(client).await }).await)
}

async fn enable(client: Client) -> Result<(), Error> {
    client.auth_client().auth_enable().await.map(drop)
}

/// A user without a password who has these roles.
async fn add(link: &Link, name: &str, roles: &[&str]) -> StoreResult<()> {
    if name == ROOT {
        made(link.ask(|c: Client| async move { c.auth_client().role_add(ROOT).await }).await)?;
    }
    made(
        link.ask(|client: Client| async move {
            let options = UserAddOptions::new().with_no_pwd();
            client.auth_client().user_add(name, "", Some(options)).await
        })
        .await,
    )?;
    for role in roles {
        made(link.ask(|c: Client| async move { c.auth_client().user_grant_role(name, *role).await }).await)?;
    }
    Ok(())
}

/// The role of a pool's gateways: exactly two grants.
async fn role(link: &Link, name: &str, pool: &str) -> StoreResult<()> {
    made(link.ask(|client: Client| async move { client.auth_client().role_add(name).await }).await)?;
    let keys = Keys::new(pool);
    let (root, live) = (keys.root(), keys.live());
    let read = Permission::read(root.clone()).with_range_end(end_of(&root));
    let write = Permission::read_write(live.clone()).with_range_end(end_of(&live));
    for grant in [read, write] {
        made(
            link.ask(|client: Client| {
                let grant = grant.clone();
                async move { client.auth_client().role_grant_permission(name, grant).await }
            })
            .await,
        )?;
    }
    Ok(())
}

/// What is there already, or gone already, is as wanted.
fn made<T>(answer: StoreResult<T>) -> StoreResult<()> {
    match answer {
        Ok(_) => Ok(()),
        Err(StoreError::Refused(why) | StoreError::Unavailable(why))
            if why.contains("already") || why.contains("not found") =>
        {
            Ok(())
        }
        Err(error) => Err(error),
    }
}
