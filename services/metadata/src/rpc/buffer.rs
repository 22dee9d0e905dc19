//! `BufferService`.

use holdall_proto::metadata::v1::buffer_service_server::BufferService;
use holdall_proto::metadata::v1::{
    BeginEntryRequest, BeginEntryResponse, ClearBufferRequest, ClearBufferResponse, CommitEntryRequest,
    CommitEntryResponse, EntryKind, GetEntryRequest, GetEntryResponse, ListEntriesRequest,
    ListEntriesResponse,
};
use holdall_proto::timestamp;
use tonic::{Request, Response, Status};

use super::{KeptEntry, Rpc, convert, page_size};
use crate::domain::buffer::{self, NewEntry};
use crate::domain::error::Error;
use crate::domain::id::EntryId;
use crate::domain::space::Home;
use crate::domain::version;

#[tonic::async_trait]
impl BufferService for Rpc {
    async fn begin_entry(
        &self,
        request: Request<BeginEntryRequest>,
    ) -> Result<Response<BeginEntryResponse>, Status> {
        let (home, now) = self.home(&request).await?;
        let upload = self.store().begin_entry(&home, request.get_ref().size, now).await?;
        Ok(Response::new(BeginEntryResponse {
            upload_id: upload.id.to_string(),
            write_grant: self.write_grant(&home, &upload),
            expires_at: Some(timestamp(upload.expires_at)),
        }))
    }

    async fn commit_entry(
        &self,
        request: Request<CommitEntryRequest>,
    ) -> Result<Response<CommitEntryResponse>, Status> {
        let (home, now) = self.home(&request).await?;
        let request = request.into_inner();
        let is_file = match EntryKind::try_from(request.kind) {
            Ok(EntryKind::Unspecified | EntryKind::Text) => false,
            Ok(EntryKind::File) => true,
            Err(_) => return Err(Error::field("kind", "is not known").into()),
        };
        let time_to_live = request.time_to_live.as_ref();
        let entry = NewEntry {
            stored: self.stored(&request.receipt, &home, now)?,
            name: buffer::name(is_file, &request.name)?,
            media_type: buffer::media_type(is_file, &request.media_type)?,
            device: version::device(&request.device)?.to_owned(),
            time_to_live: time_to_live.map(|time| convert::lifetime("time_to_live", time)).transpose()?,
        };
        let entry = self.store().commit_entry(&home, &entry, now).await?;
        Ok(Response::new(CommitEntryResponse { entry: Some(convert::from_entry(entry)) }))
    }

    async fn get_entry(
        &self,
        request: Request<GetEntryRequest>,
    ) -> Result<Response<GetEntryResponse>, Status> {
        let (home, now) = self.home(&request).await?;
        let request = request.into_inner();
        let load = async || self.entry(&home, &request, now).await;
        let kept = self.0.entries.get(self.store(), &home, &request, now, load).await?.answer;
        Ok(Response::new(GetEntryResponse {
            read_grant: self.read_grant(kept.blob, now),
            entry: Some(kept.entry.clone()),
        }))
    }

    async fn list_entries(
        &self,
        request: Request<ListEntriesRequest>,
    ) -> Result<Response<ListEntriesResponse>, Status> {
        let (home, now) = self.home(&request).await?;
        let request = request.into_inner();
        let size = page_size(request.page_size)?;
        let scope = format!("entries/{}", home.account);
        let before = self.position(&scope, &request.page_token)?;
        let page = self.store().entries(&home, before, size, now).await?;
        let last = page.items.last().filter(|_| page.has_more).map(|entry| entry.sequence);
        Ok(Response::new(ListEntriesResponse {
            next_page_token: self.next_page(&scope, last)?,
            entries: page.items.into_iter().map(convert::from_entry).collect(),
        }))
    }

    async fn clear_buffer(
        &self,
        request: Request<ClearBufferRequest>,
    ) -> Result<Response<ClearBufferResponse>, Status> {
        let (home, now) = self.home(&request).await?;
        self.store().clear_buffer(&home, now).await?;
        Ok(Response::new(ClearBufferResponse {}))
    }
}

impl Rpc {
    async fn entry(&self, home: &Home, request: &GetEntryRequest, now: i64) -> Result<KeptEntry, Status> {
        let id = match request.entry_id.as_str() {
            "" => None,
            text => Some(EntryId::parse(text).ok_or(Error::NotFound)?),
        };
        let entry = self.store().entry(home, id, now).await?;
        Ok(KeptEntry { blob: entry.blob, end: entry.expires_at, entry: convert::from_entry(entry) })
    }
}
