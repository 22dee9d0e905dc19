//! Uploads in several goes: what their writers were told.

use bytes::Bytes;
use tonic::{Code, Status};

use super::Ledger;
use crate::calls::resume;
use crate::content::Content;
use crate::home::{Client, Home, Server};

/// How much is written in each go, in turns.
const GOES: [usize; 5] = [600_000, 70_000, 1, 1 << 20, 300_000];

/// An upload, as far as its writer knows.
pub struct Upload {
    handle: Bytes,
    content: Content,
    /// Bytes that were said to be durable.
    acknowledged: u64,
    /// Which to write in; `None` when a new one has begun and it was not told which.
    epoch: Option<i64>,
    /// How often it was gone on with.
    turns: u64,
}

impl Upload {
    async fn begin(home: &Home, client: &mut Client, content: Content) -> Result<Self, Status> {
        let (handle, epoch) = resume::start(&home.keys, client).await?;
        Ok(Self { handle, content, acknowledged: 0, epoch: Some(epoch), turns: 0 })
    }

    /// Where it stands, and whether it is complete: nothing less than its writer was told.
    async fn look(&self, client: &mut Client) -> Result<(u64, bool), Status> {
        let (offset, is_complete) = resume::get(client, &self.handle).await?;
        let (least, len) = (self.acknowledged, self.content.len as u64);
        assert!((least..=len).contains(&offset), "{least} of {len} bytes were durable, now {offset} are");
        assert!(!is_complete || offset == len, "it is complete at {offset} of {len} bytes");
        Ok((offset, is_complete))
    }

    /// Writes what is missing, and finishes it.
    async fn go_on(&mut self, home: &Home, client: &mut Client) -> Result<String, Status> {
        let bytes = self.content.bytes();
        let (offset, is_complete) = self.look(client).await?;
        if !is_complete {
            self.turns += 1;
            if self.turns.is_multiple_of(2) || self.epoch.is_none() {
                self.take_over(client, offset).await?;
            }
            self.write(client, &bytes, offset).await?;
        }
        resume::finish(&home.keys, client, &self.handle, self.epoch.unwrap(), &bytes).await
    }

    async fn take_over(&mut self, client: &mut Client, offset: u64) -> Result<(), Status> {
        let last = self.epoch.take();
        let (epoch, at) = resume::take_over(client, &self.handle).await?;
        assert!(at == offset && last.is_none_or(|last| last < epoch));
        self.epoch = Some(epoch);
        Ok(())
    }

    async fn write(&mut self, client: &mut Client, bytes: &Bytes, mut offset: u64) -> Result<(), Status> {
        let mut goes = GOES.iter().cycle();
        while offset < bytes.len() as u64 {
            let start = usize::try_from(offset).unwrap();
            let end = bytes.len().min(start + goes.next().unwrap());
            let epoch = self.epoch.unwrap();
            offset = resume::write_at(client, &self.handle, epoch, offset, bytes.slice(start..end)).await?;
            assert_eq!(offset, end as u64);
            self.acknowledged = offset;
        }
        Ok(())
    }
}

impl Ledger {
    /// Finishes an upload that was broken off; when there is none, begins one with this content and finishes that.
    pub async fn upload(&self, home: &Home, client: &mut Client, content: Content) -> Result<(), Status> {
        let broken = self.uploads.lock().unwrap().pop();
        let mut upload = match broken {
            Some(upload) => upload,
            None => {
                self.begin(content);
                Upload::begin(home, client, content).await?
            }
        };
        match upload.go_on(home, client).await {
            Ok(id) => {
                self.acknowledge(id, upload.content);
                Ok(())
            }
            Err(status) => {
                self.uploads.lock().unwrap().push(upload);
                Err(status)
            }
        }
    }

    /// Begins an upload and gives it up.
    pub async fn give_up(&self, home: &Home, client: &mut Client, content: Content) -> Result<(), Status> {
        let mut upload = Upload::begin(home, client, content).await?;
        upload.write(client, &content.bytes(), 0).await?;
        resume::abort(client, &upload.handle).await?;
        self.given_up.lock().unwrap().push(upload.handle);
        Ok(())
    }

    /// Fails unless all that was acknowledged of uploads is there, nobody of an older epoch can add to them, and those that
    /// were given up are gone. Returns how many are not finished.
    pub(super) async fn check_uploads(&self, server: &Server) -> usize {
        let mut client = server.client();
        let uploads = std::mem::take(&mut *self.uploads.lock().unwrap());
        for upload in &uploads {
            let (offset, is_complete) = upload.look(&mut client).await.unwrap();
            if let (Some(epoch @ 2..), false) = (upload.epoch, is_complete) {
                let late = Bytes::from_static(b"late");
                let late = resume::write_at(&mut client, &upload.handle, epoch - 1, offset, late).await;
                assert_eq!(late.unwrap_err().code(), Code::Aborted);
            }
        }
        let given_up = self.given_up.lock().unwrap().clone();
        for handle in given_up {
            assert_eq!(resume::get(&mut client, &handle).await.unwrap_err().code(), Code::NotFound);
        }
        let count = uploads.len();
        self.uploads.lock().unwrap().extend(uploads);
        count
    }

    /// Finishes all uploads that were broken off.
    pub async fn finish_uploads(&self, home: &Home, server: &Server) {
        let uploads = std::mem::take(&mut *self.uploads.lock().unwrap());
        for mut upload in uploads {
            let id = upload.go_on(home, &mut server.client()).await.unwrap();
            self.acknowledge(id, upload.content);
        }
    }
}
