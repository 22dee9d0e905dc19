//! `FreshnessService`: what says of an answer that it is still right.
//!
//! A validator is the id of a space (16 bytes) and a moment of it (8 bytes, the highest first).

use std::collections::HashMap;

use futures::future::try_join_all;
use holdall_proto::metadata::v1::freshness_service_server::FreshnessService;
use holdall_proto::metadata::v1::{CheckCurrentRequest, CheckCurrentResponse, Reuse};
use holdall_proto::span;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{MAX_PAGE, Rpc};
use crate::domain::error::Error;
use crate::domain::id::SpaceId;
use crate::domain::space::Home;
use crate::store::Moment;

/// Nobody needs to keep anything for longer; microseconds.
const LONGEST: i64 = 3600 * 1_000_000;

/// What an answer of that moment needs to be given again for `lasts` microseconds at most.
pub(super) fn reuse(home: &Home, moment: Moment, lasts: i64) -> Option<Reuse> {
    let validator = [&home.space.as_bytes()[..], &moment.number().to_be_bytes()].concat().into();
    span(lasts.min(LONGEST)).map(|lasts| Reuse { validator, lasts: Some(lasts) })
}

fn read(validator: &[u8]) -> Option<(SpaceId, i64)> {
    let (space, moment) = validator.split_first_chunk()?;
    Some((Uuid::from_bytes(*space).into(), i64::from_be_bytes(moment.try_into().ok()?)))
}

#[tonic::async_trait]
impl FreshnessService for Rpc {
    async fn check_current(
        &self,
        request: Request<CheckCurrentRequest>,
    ) -> Result<Response<CheckCurrentResponse>, Status> {
        let request = request.into_inner();
        if request.validators.len() > MAX_PAGE as usize {
            return Err(Error::field("validators", "must not be more than 1000").into());
        }
        let validators: Vec<_> = request.validators.iter().map(|validator| read(validator)).collect();
        let mut spaces: Vec<SpaceId> = validators.iter().flatten().map(|(space, _)| *space).collect();
        spaces.sort_unstable();
        spaces.dedup();
        let moments =
            spaces.into_iter().map(async |space| Ok::<_, Status>((space, self.store().moment(space).await?)));
        let moments: HashMap<SpaceId, Option<Moment>> = try_join_all(moments).await?.into_iter().collect();
        let is_current = |validator: Option<(SpaceId, i64)>| {
            let (space, shown) = validator?;
            Some(moments.get(&space).copied()??.number() == shown)
        };
        let current =
            validators.into_iter().map(|validator| is_current(validator).unwrap_or(false)).collect();
        Ok(Response::new(CheckCurrentResponse { current }))
    }
}
