//! Manifests as bytes: round trips, older versions, and what is refused.

use nearfield_payload::Path;

use super::*;

fn sample() -> Manifest {
    let summary = Summary { length: 1, crc64: 2, blake3: [3; 32], tables_crc: 4 };
    let file = |kind| FileEntry { kind, generation: 0, summary };
    let scalar = Quantization::Scalar { quantile: 0.99 };
    let index = IndexConfig { m: 24, ef_construct: 200, quantization: scalar };
    let config = CollectionConfig::new(3, Metric::Cosine)
        .vector("image", 5, Metric::Euclid)
        .index(index)
        .partition_by("owner.id");
    let truth = [FileKind::Ids, FileKind::Payload, FileKind::Vectors(1)];
    let derived =
        [FileKind::Codes(0), FileKind::Graph(1), FileKind::Partitions(1), FileKind::Field(Seq(150))];
    let files: Vec<_> = truth.into_iter().chain(derived).map(file).collect();
    let path = Path::key("a.b");
    let field = PayloadField { created: Seq(150), path, config: IndexKind::Text.config() };
    let with_delta = Some((9, file(FileKind::Delta)));
    Manifest {
        collection: [1; 16],
        wal: [2; 16],
        flushed: Seq(100),
        synced: Seq(200),
        next_segment: 3,
        previous_crc: 7,
        config,
        epochs: vec![IndexEpoch::default(), IndexEpoch { number: 3, rebuilding: true }],
        optimizers: OptimizerConfig { indexing_threshold: Some(0), ..OptimizerConfig::default() },
        fields: Fields { changed: Seq(151), list: vec![Arc::new(field)] },
        segments: vec![
            SegmentEntry {
                id: 1,
                rows: 10,
                codec_epoch: 0,
                epochs: vec![0, 3],
                files: files.clone(),
                delta: None,
            },
            SegmentEntry { id: 2, rows: 11, codec_epoch: 0, epochs: vec![0, 2], files, delta: with_delta },
        ],
    }
}

#[test]
fn round_trip_and_every_prefix() {
    let bytes = sample().encode();
    assert_eq!(Manifest::decode(&bytes), Ok(sample()));
    for cut in 0..bytes.len() {
        assert!(Manifest::decode(&bytes[..cut]).is_err(), "prefix {cut}");
    }
}

#[test]
fn manifests_of_older_versions_are_read() {
    let summary = Summary { length: 1, crc64: 2, blake3: [3; 32], tables_crc: 4 };
    let config = CollectionConfig::new(3, Metric::Cosine);
    let files = vec![FileEntry { kind: FileKind::Ids, generation: 0, summary }];
    let segments =
        vec![SegmentEntry { id: 1, rows: 10, codec_epoch: 0, epochs: vec![0], files, delta: None }];
    let (epochs, optimizers) = (vec![IndexEpoch::default()], OptimizerConfig::default());
    let manifest = Manifest { config, epochs, optimizers, fields: Fields::default(), segments, ..sample() };
    let mut bytes = manifest.encode();
    // After the head, the three Seqs, the count of vectors, and the name, dimension and metric of the one there is.
    let index = 8 + 32 + 24 + 4 + (4 + 4 + 1);
    // No epochs, neither of the vector nor of the index in the segment, and no settings of the background.
    let (epochs, settings) = (index + 13 + 1, 5 + (8 + 8 + 4 + 4 * 9 + 8));
    let built = epochs + settings + 12 + 4 + (8 + 4 + 8);
    bytes.drain(built..built + 4);
    bytes.drain(epochs..epochs + settings);
    bytes[0] = 4;
    assert_eq!(Manifest::decode(&bytes), Ok(manifest.clone()));
    // No partition.
    let partition = index + 13;
    bytes.drain(partition..partition + 1);
    bytes[0] = 3;
    assert_eq!(Manifest::decode(&bytes), Ok(manifest.clone()));
    // No payload indexes, and six bytes less of the place of the file.
    let (fields, place) = (index + 13, index + 13 + 12 + 4 + (8 + 4 + 8 + 4) + 1 + 2);
    bytes.drain(place..place + 6);
    bytes.drain(fields..fields + 12);
    bytes[0] = 2;
    assert_eq!(Manifest::decode(&bytes), Ok(manifest.clone()));
    bytes.drain(index..index + 13);
    bytes[0] = 1;
    assert_eq!(Manifest::decode(&bytes), Ok(manifest));
    bytes[0] = 0;
    assert!(Manifest::decode(&bytes).is_err());
}

#[test]
fn fields_must_make_sense() {
    let field = |created, key: &str| {
        Arc::new(PayloadField {
            created: Seq(created),
            path: Path::key(key),
            config: IndexKind::Bool.config(),
        })
    };
    let decoded = |changed, list: &[Arc<PayloadField>]| {
        let fields = Fields { changed: Seq(changed), list: list.to_vec() };
        Manifest::decode(&Manifest { fields, segments: Vec::new(), ..sample() }.encode()).is_ok()
    };
    assert!(decoded(0, &[field(0, "a")]) && decoded(200, &[field(0, "a"), field(8, "b")]));
    assert!(decoded(200, &[field(7, "a"), field(8, "b")]));
    assert!(!decoded(201, &[]), "a change that is not durable");
    assert!(!decoded(7, &[field(8, "a")]), "made after the last change");
    assert!(!decoded(9, &[field(8, "a"), field(8, "b")]), "two of one name");
    assert!(!decoded(9, &[field(8, "a"), field(9, "a")]), "two of one path");
    let many: Vec<_> = (1..=65).map(|created| field(created, &created.to_string())).collect();
    assert!(decoded(65, &many[..64]) && !decoded(65, &many));
    let unnamed = Manifest { fields: Fields::default(), ..sample() };
    assert!(Manifest::decode(&unnamed.encode()).is_err(), "a file of no index");
}

#[test]
fn epochs_must_make_sense() {
    let mut manifest = sample();
    manifest.segments[0].epochs = vec![1, 0];
    assert!(Manifest::decode(&manifest.encode()).is_err(), "built with settings that never were");
    manifest.epochs[0].number = 1;
    assert!(Manifest::decode(&manifest.encode()).is_ok());
}

#[test]
fn segment_numbers_must_make_sense() {
    let mut manifest = sample();
    manifest.next_segment = 2;
    assert!(Manifest::decode(&manifest.encode()).is_err());
    manifest = sample();
    manifest.segments[1].id = 1;
    assert!(Manifest::decode(&manifest.encode()).is_err());
}
