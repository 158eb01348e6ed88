//! What can be changed of a collection while it lives: how vectors are indexed, and how the background works on segments.
//!
//! Settings are in the manifest and nowhere else: a change is a manifest that says so, and is durable when the call returns. They say nothing
//! of data, so they need no place in the log: replay gives the same rows whatever they are. It refuses to act on them.

use std::sync::Arc;

use nearfield_segment::Schema;
use nearfield_vectors::{Element, Shape};

use crate::collection::Collection;
use crate::config::{CollectionConfig, IndexConfig, PartitionConfig, VectorConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::{IndexEpoch, Manifest};
use crate::optimizers::OptimizerConfig;

/// The settings of one manifest.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) config: Arc<CollectionConfig>,
    pub(crate) schema: Schema,
    pub(crate) optimizers: OptimizerConfig,
    /// Of each vector the epoch of its index settings.
    pub(crate) epochs: Vec<IndexEpoch>,
}

impl Settings {
    pub(crate) fn of(manifest: &Manifest) -> Settings {
        Settings {
            config: Arc::new(manifest.config.clone()),
            schema: schema_of(&manifest.config, &manifest.optimizers),
            optimizers: manifest.optimizers,
            epochs: manifest.epochs.clone(),
        }
    }
}

/// The shapes of the vectors of a collection, and how they are indexed.
pub(crate) fn schema_of(config: &CollectionConfig, optimizers: &OptimizerConfig) -> Schema {
    let vector = |(_, vector): (&str, VectorConfig)| {
        let shape = Shape::new(vector.dim, vector.metric, Element::F32)
            .expect("configurations are checked before they are kept");
        (shape, vector.index.options())
    };
    Schema::indexed(config.vectors().map(vector))
        .partitioned(config.partition().and_then(PartitionConfig::parsed))
        .graph_from(optimizers.graph_rows_min(config))
}

impl Collection {
    /// How the background works on segments.
    pub fn optimizers(&self) -> OptimizerConfig {
        self.settings.load().optimizers
    }

    /// Changes how the background works on segments. Durable when this returns; what there is follows in the background, except that a graph
    /// that was built stays.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for what cannot be honoured, with the reason; else as [`Collection::flush`].
    pub fn set_optimizers(&self, optimizers: OptimizerConfig) -> Result<()> {
        optimizers.check()?;
        self.change_settings(|manifest| {
            manifest.optimizers = optimizers;
            Ok(())
        })?;
        let from = self.settings.load().schema.graph_rows_min();
        let version = self.current.load_full();
        version.frozen().chain([version.head()]).for_each(|growing| growing.graph_from(from));
        Ok(())
    }

    /// Changes how the vector `name` is indexed. Durable when this returns. Rows written from now on are indexed so, once they are sealed; graphs
    /// that there are serve as they are until their segment is merged or [`Collection::rebuild`] is called.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if there is no such vector, [`ErrorKind::Invalid`] for settings outside the limits; else as
    /// [`Collection::flush`].
    pub fn set_index(&self, name: &str, index: IndexConfig) -> Result<()> {
        self.change_settings(|manifest| {
            let Some((place, before)) = manifest.config.find(name) else {
                return Err(crate::prepare::unknown_vector(&manifest.config, name));
            };
            if before.index == index {
                return Ok(());
            }
            manifest.config.set_index(place, index);
            manifest.config.check()?;
            raise_epoch(&mut manifest.epochs[place])
        })
    }

    /// Commits a manifest with other settings, and lets everybody know.
    pub(crate) fn change_settings(&self, change: impl FnOnce(&mut Manifest) -> Result<()>) -> Result<()> {
        let mut ledger = self.checkpoint.lock();
        self.check_writable()?;
        let mut manifest = ledger.manifest.clone();
        change(&mut manifest)?;
        if manifest == ledger.manifest {
            return Ok(());
        }
        self.commit(&mut ledger, manifest)?;
        self.settings.store(Arc::new(Settings::of(&ledger.manifest)));
        Ok(())
    }
}

/// Makes every index of the vector stale.
pub(crate) fn raise_epoch(epoch: &mut IndexEpoch) -> Result<()> {
    let next = epoch.number.checked_add(1);
    epoch.number = next.ok_or_else(|| {
        Error::new(ErrorKind::Full, "index settings were changed 2^32 times: copy the collection to go on")
    })?;
    Ok(())
}
