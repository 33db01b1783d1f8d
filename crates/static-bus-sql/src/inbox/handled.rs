//! The end of the transaction of a message.

use sqlx::Error;
use static_bus_remote::transport::Lease;

use crate::{
    claims,
    dialect::Dialect,
    group::Membership,
    receipt::SqlReceipt,
    settle::{Remove, acknowledge},
    store::{Session, Work},
    strands,
};

/// Remembers the deduplication key of a record and acknowledges it. The output is `None` if the record was acknowledged before, or another
/// one with its key.
pub(crate) struct Handled {
    pub membership: Membership,
    pub lease: Lease<SqlReceipt>,
}

impl<D: Dialect> Work<D> for Handled {
    type Output = Option<Option<Remove>>;

    async fn run(&self, session: &mut Session<'_, D>) -> Result<Self::Output, Error> {
        let Handled { membership, lease } = self;
        let Membership { group, member, .. } = *membership;
        let strand = lease.receipt.strand;
        if strand.is_some() {
            session.lock("group", group).await?;
        }
        if let Some(key) = &lease.claim
            && !claims::remember(session, membership, key).await?
        {
            return Ok(None);
        }
        let record = [lease.receipt.record];
        let acknowledged = acknowledge(session, membership, &record, &[]).await?;
        strands::settle(session, group, member, strand.into_iter().collect()).await?;
        Ok(acknowledged.any.then_some(acknowledged.remove))
    }
}
