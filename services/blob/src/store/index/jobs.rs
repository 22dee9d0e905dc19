//! Who runs a background job, and where it goes on.

use holdall_sql::sql;

use super::{Error, Index};

/// The right to run a job, until it is not renewed in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    name: &'static str,
    epoch: i64,
    /// Where the job goes on, in its own words; empty for the beginning.
    pub position: String,
}

impl Index {
    /// Takes a job on until a time, when nobody has it at `now`. Times are Unix microseconds.
    pub async fn lease(&self, name: &'static str, now: i64, until: i64) -> Result<Option<Lease>, Error> {
        let mut tx = self.database.begin().await?;
        let row = sql("INSERT INTO jobs (name, epoch, leased_until, position) VALUES ($1, 1, $3, '') \
             ON CONFLICT (name) DO UPDATE SET epoch = jobs.epoch + 1, leased_until = excluded.leased_until \
             WHERE jobs.leased_until <= $2 RETURNING epoch, position")
        .bind(name)
        .bind(now)
        .bind(until)
        .fetch_optional(&mut tx)
        .await?;
        tx.commit().await?;
        row.map(|row| Ok(Lease { name, epoch: row.get(0)?, position: row.get(1)? })).transpose()
    }

    /// Prolongs a lease and notes where the job goes on. Returns whether it still holds: when not, somebody else has the job.
    pub async fn renew(&self, lease: &Lease, until: i64) -> Result<bool, Error> {
        let renewed = sql("UPDATE jobs SET leased_until = $3, position = $4 WHERE name = $1 AND epoch = $2")
            .bind(lease.name)
            .bind(lease.epoch)
            .bind(until)
            .bind(&lease.position)
            .execute(&self.database)
            .await?;
        Ok(renewed == 1)
    }

    /// Whether these blobs belong to the metadata database of that name. The first one to be named is the one.
    pub async fn belongs_to(&self, instance: &str) -> Result<bool, Error> {
        let select = "SELECT instance FROM owner";
        if let Some(row) = sql(select).fetch_optional(&self.database).await? {
            return Ok(row.get::<String>(0)? == instance);
        }
        sql("INSERT INTO owner (one, instance) VALUES (1, $1) ON CONFLICT (one) DO NOTHING")
            .bind(instance)
            .execute(&self.database)
            .await?;
        Ok(sql(select).fetch_one(&self.database).await?.get::<String>(0)? == instance)
    }
}
