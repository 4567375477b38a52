//! A dump: an archive of raw documents, read by cursors of one moment.

use std::sync::Arc;

use async_trait::async_trait;
use mongodb::bson::Document;

use super::{
    archive::{Header, Listing, MAGIC, TERMINATOR},
    catalogue::{self, Collection, CollectionKind},
    connect::{Purpose, Server, Target},
    metadata::Metadata,
    moment::{PointInTime, Reading},
    pack::{Packer, Part},
    read::{Limits, Query, Reader},
    roles,
    select::Selection,
    server::Facts,
    source::{Moment, MongoSource},
};
use crate::{
    domain::{
        artifact::{ArtifactKind, DumpFormat},
        database::Settings,
        fields::SettingsExt,
        run::Run,
        stream::ByteSender,
    },
    engines::{Dump, DumpFacts, RowSource},
    error::{Error, Kind, Result},
};

/// An open moment of one database, or of all.
pub struct MongoDump {
    target: Target,
    server: Arc<Server>,
    collections: Vec<Collection>,
    reading: Reading,
    wanted: PointInTime,
    limits: Limits,
    schema_only: bool,
    users_and_roles: bool,
    version: String,
    facts: DumpFacts,
}

impl MongoDump {
    pub async fn open(target: Target, options: &Settings, run: &Run) -> Result<Self> {
        let selection = Selection::new(options, target.database.is_none())?;
        target.database.as_deref().map_or(Ok(()), catalogue::check_own)?;
        let server = Arc::new(target.connect(Purpose::Read, run).await?);
        let databases = match &target.database {
            Some(database) => vec![database.clone()],
            None => catalogue::databases(&server, run).await?,
        };
        let facts = Facts::read(&server, &databases, run).await?;
        let mut collections = Vec::new();
        for database in &databases {
            let there = catalogue::collections(&server, database, run).await?;
            catalogue::check_there(database, target.database.is_some(), &there)?;
            collections.extend(there);
        }
        if let Some(pattern) = selection.unmatched(&collections) {
            return Err(Error::validation(format!("no collection matches '{pattern}'")).hint("check the option includeCollections"));
        }
        collections.retain(|collection| selection.holds(collection));
        let users_and_roles = options.flag("usersAndRoles");
        if users_and_roles {
            roles::check(&server, run).await?;
        }
        let schema_only = options.flag("schemaOnly");
        let wanted = if schema_only { PointInTime::Auto } else { PointInTime::from_option(options.text("pointInTime")) };
        let mut reading = Reading::open(&server, wanted, if schema_only { &[] } else { &collections }, run).await?;
        let tables = collections.iter().filter(|collection| collection.kind != CollectionKind::View).count() as u64;
        let facts = DumpFacts {
            moment: reading.moment,
            server_version: facts.server(),
            tool_version: None,
            size: facts.size.filter(|_| !schema_only && selection.is_all()),
            tables: Some(tables),
            counts: None,
            warnings: reading.warning.take().into_iter().collect(),
        };
        let version = facts.server_version.trim_start_matches("MongoDB ").to_owned();
        Ok(Self { target, server, collections, reading, wanted, limits: Limits::of(options), schema_only, users_and_roles, version, facts })
    }

    /// Rows and definitions of the moment, without a dump.
    pub async fn into_source(self, run: &Run) -> Result<MongoSource> {
        MongoSource::open(self.moment(self.facts.warnings.clone()), run).await
    }

    /// True when each collection is read as it is when it is come to, and there is any.
    fn reads_now(&self) -> bool {
        self.reading.time.is_none() && !self.schema_only && self.collections.iter().any(|collection| collection.data().is_some())
    }

    fn moment(&self, warnings: Vec<String>) -> Moment {
        Moment {
            server: self.server.clone(),
            reading: self.reading.clone(),
            wanted: self.wanted,
            limits: self.limits,
            collections: self.collections.clone(),
            qualified: self.target.database.is_none(),
            schema_only: self.schema_only,
            size: self.facts.size,
            server_version: self.facts.server_version.clone(),
            warnings,
        }
    }

    async fn dump(&self, out: ByteSender, run: &Run) -> Result<u64> {
        let mut packer = Packer::new(out, run);
        let header = Header {
            concurrent_collections: 1,
            server_version: self.version.clone(),
            tool_version: concat!("dbsnap ", env!("CARGO_PKG_VERSION")).to_owned(),
        };
        packer.part(Part::Raw([MAGIC.as_slice(), header.to_bson().as_bytes()].concat())).await?;
        let accounts = if self.users_and_roles { roles::sources(self.target.database.as_deref()) } else { Vec::new() };
        for (listing, _) in &accounts {
            packer.part(Part::Raw(listing.to_bson().into_bytes())).await?;
        }
        let mut listed = Vec::new();
        for collection in &self.collections {
            let Some(listing) = self.listing(collection, run).await? else {
                run.info(format!("{collection} is gone since the collections were listed: it is left out"));
                continue;
            };
            packer.part(Part::Raw(listing.to_bson().into_bytes())).await?;
            listed.push(collection);
        }
        packer.part(Part::Raw(TERMINATOR.to_vec())).await?;

        let mut reader = Reader::new(&self.server, &self.reading, self.limits, self.facts.size).await?;
        for (listing, query) in accounts {
            packer.part(Part::Collection { db: listing.db, collection: listing.collection }).await?;
            reader.documents(&query, &mut packer, run).await?;
            packer.part(Part::End).await?;
        }
        for collection in listed {
            let data = collection.data();
            let name = data.clone().unwrap_or_else(|| collection.name.clone());
            packer.part(Part::Collection { db: collection.db.clone(), collection: name }).await?;
            if let Some(data) = data.filter(|_| !self.schema_only) {
                self.documents(collection, data, &mut reader, &mut packer, run).await?;
            }
            packer.part(Part::End).await?;
        }
        drop(reader);
        packer.finish().await
    }

    /// What the prelude tells of a collection; `None` when it is gone.
    async fn listing(&self, collection: &Collection, run: &Run) -> Result<Option<Listing>> {
        let Some(indexes) = catalogue::indexes(&self.server, collection, run).await? else { return Ok(None) };
        let metadata = Metadata {
            options: collection.options.clone(),
            indexes,
            uuid: collection.uuid.clone(),
            collection: collection.name.clone(),
            kind: collection.kind.as_str().to_owned(),
        };
        Ok(Some(Listing {
            db: collection.db.clone(),
            collection: collection.name.clone(),
            metadata: metadata.to_json(),
            kind: metadata.kind,
        }))
    }

    async fn documents(
        &self,
        collection: &Collection,
        data: String,
        reader: &mut Reader<'_>,
        packer: &mut Packer,
        run: &Run,
    ) -> Result<()> {
        let query = Query {
            db: collection.db.clone(),
            collection: data,
            filter: Document::new(),
            by_id: None,
            raw_data: collection.kind == CollectionKind::TimeSeries { buckets: false },
            at_moment: true,
        };
        let any = reader.documents(&query, packer, run).await?;
        // A collection that was dropped meanwhile reads like an empty one.
        if !any && !catalogue::is_still_there(&self.server, collection, run).await? {
            return Err(Error::new(Kind::Backup, format!("{collection} was dropped or replaced while it was backed up"))
                .hint("run the backup again; leave out collections that come and go with excludeCollections")
                .retryable());
        }
        Ok(())
    }
}

#[async_trait]
impl Dump for MongoDump {
    fn facts(&self) -> &DumpFacts {
        &self.facts
    }

    fn parts(&self) -> Vec<(ArtifactKind, DumpFormat)> {
        vec![(ArtifactKind::Dump, DumpFormat::MongoArchive)]
    }

    async fn source(&mut self, run: &Run) -> Result<Box<dyn RowSource>> {
        let later = "not the dump's own moment: the server cannot be read at one, and the rows were read after the dump was written";
        let warnings = if self.reads_now() { vec![later.to_owned()] } else { Vec::new() };
        Ok(Box::new(MongoSource::open(self.moment(warnings), run).await?))
    }

    async fn write(&mut self, part: ArtifactKind, out: ByteSender, run: &Run) -> Result<()> {
        let sent = match part {
            ArtifactKind::Dump => self.dump(out, run).await,
            ArtifactKind::Globals | ArtifactKind::Snapshot => Err(Error::internal(format!("MongoDB dumps have no {part} part"))),
        };
        sent.map(drop).map_err(|error| if error.is_cancelled() { error } else { error.while_doing(format!("dumping {}", self.target)) })
    }
}
