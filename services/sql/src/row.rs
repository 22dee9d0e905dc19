//! One row of a result, whichever engine it came from.

use std::fmt;

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;

use crate::error::Error;

/// A row; its columns are read by position.
pub struct Row(pub(crate) Inner);

/// Without the values: they may be secret.
impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row").finish_non_exhaustive()
    }
}

pub(crate) enum Inner {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// The value of the column at `index`, counted from 0.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the value is not of that type (`NULL` included, unless `T` is an `Option`);
    /// [`Error::Other`] when there is no such column.
    pub fn get<T: Column>(&self, index: usize) -> Result<T, Error> {
        T::read(self, index).map_err(Error::statement)
    }
}

/// The types that a column can be read as: `String`, `i64`, `Vec<u8>`, `bool` (0 or 1), and their `Option`s.
pub trait Column: Sized + sealed::Sealed {
    #[doc(hidden)]
    fn read(row: &Row, index: usize) -> Result<Self, sqlx::Error>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for String {}
    impl Sealed for i64 {}
    impl Sealed for Vec<u8> {}
    impl Sealed for bool {}
    impl<T: Sealed> Sealed for Option<T> {}
}

macro_rules! column {
    ($($kind:ty),*) => {$(
        impl Column for $kind {
            fn read(row: &Row, index: usize) -> Result<Self, sqlx::Error> {
                // Not asked of the driver: SQLite reads NULL as 0, "" or no bytes.
                Option::<$kind>::read(row, index)?.ok_or_else(null)
            }
        }

        impl Column for Option<$kind> {
            fn read(row: &Row, index: usize) -> Result<Self, sqlx::Error> {
                match &row.0 {
                    Inner::Sqlite(row) => row.try_get(index),
                    Inner::Postgres(row) => row.try_get(index),
                }
            }
        }
    )*};
}

column!(String, i64, Vec<u8>);

impl Column for bool {
    fn read(row: &Row, index: usize) -> Result<Self, sqlx::Error> {
        truth(i64::read(row, index)?)
    }
}

impl Column for Option<bool> {
    fn read(row: &Row, index: usize) -> Result<Self, sqlx::Error> {
        Option::<i64>::read(row, index)?.map(truth).transpose()
    }
}

fn null() -> sqlx::Error {
    sqlx::Error::Decode(Box::new(sqlx::error::UnexpectedNullError))
}

fn truth(value: i64) -> Result<bool, sqlx::Error> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(sqlx::Error::Decode("a truth value is neither 0 nor 1".into())),
    }
}
