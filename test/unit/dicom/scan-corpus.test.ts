import { isDeepStrictEqual } from 'node:util';
import { test } from 'tap';
import { corpusFiles, readCorpusFile, skipCorpus } from '../../fixtures/corpus.ts';
import { outcome } from '../../fixtures/scanning.ts';

/**
 * What becomes of every bad file: nothing that can be identified is lost, nothing half-received is kept. `true`: stored, without
 * a warning; a pattern: stored, with a warning like it; a text: refused with that code, and the attribute at fault if there is one.
 */
const BAD: Record<string, true | RegExp | string> = {
  // Identified and whole; what is wrong is told, and the bytes are kept as they came.
  'badVR.dcm': /NumberOfFrames: Not an integer/,
  'invalid-vr-length-test.dcm': /SeriesTime: Not a time/,
  'no-meta-length-test.dcm': /GroupLength: Missing/,
  'CTImageStorage_bad_meta.dcm': true,
  '2026-05-26-oob-monochrome-65535.dcm': /PixelData: Shorter/,
  'bad_dates.dcm': /StudyDate: Not a date/,
  'bad_numbers.dcm': /ImagePositionPatient: Not a decimal/,
  'old_dates.dcm': /StudyDate: Not a date/,
  'long_values.dcm': /PatientID: Longer/,
  'nul_in_strings.dcm': /PatientName/,
  'odd_lengths.dcm': /odd length/,
  'pn_4_groups.dcm': /PatientName: More than three/,
  'pn_xss.dcm': /MediaStorageSOPInstanceUID: Differs/,
  'no_patient_id.dcm': true,
  'dup_instance_1.dcm': true,
  'dup_instance_2.dcm': true,
  'same_study_two_patients_1.dcm': true,
  'same_study_two_patients_2.dcm': true,
  'uid_leading_zero.dcm': /SOPInstanceUID: Empty components or leading zeros/,
  'ts_space_padded.dcm': true,
  'unknown_ts.dcm': /TransferSyntaxUID: A transfer syntax that the standard does not define/,
  'empty_ts.dcm': /TransferSyntaxUID: Missing or empty/,
  'meta_group_length_wrong.dcm': /GroupLength: Not the length/,
  'duplicate_tag.dcm': /PatientID: More than once/,
  'tags_out_of_order.dcm': /ascending order/,
  'many_items.dcm': /ascending order/,
  'deep_nesting.dcm': /Nested deeper/,
  // Pixels that do not fit their header: the frames that are there are served.
  'JPEG-lossy.dcm': true,
  'JPEG2000-embedded-sequence-delimiter.dcm': true,
  'bot_beyond_end.dcm': /Basic Offset Table does not fit/,
  'bot_wrong_count.dcm': /Basic Offset Table does not fit/,
  'frames_gt_fragments.dcm': /Fewer fragments than frames/,
  'frames_huge.dcm': /PixelData: Shorter/,
  'frames_negative.dcm': /NumberOfFrames: Not a positive integer/,
  'frames_text.dcm': /NumberOfFrames: Not a positive integer/,
  'jpeg_garbage.dcm': /Not a code stream/,
  'pixel_empty.dcm': /PixelData: The value is empty/,
  'rows_too_big.dcm': /PixelData: Shorter/,
  'zero_length_fragment.dcm': /fragment of length zero/,
  'zero_rows.dcm': /do not give a frame/,
  // Encoded otherwise than declared, but without doubt how.
  'declared_big_endian_is_little.dcm': /byte order/,
  'declared_deflated_is_plain.dcm': /not deflated/,
  'declared_implicit_is_explicit.dcm': /Explicit VR in an implicit/,
  'declared_jpeg_native_pixels.dcm': /Native in a transfer syntax that is encapsulated/,
  'deflate_zlib_header.dcm': /zlib stream/,
  'deflate_bomb.dcm': true,
  // Structure that can be passed over, since a length tells where it ends, or the end of the stream does.
  'seq_item_bad_tag.dcm': /something else than items/,
  'seq_no_delimiter.dcm': /without its delimiter at the end/,
  'deep_nesting_unclosed.dcm': /without its delimiter at the end/,
  'no_seq_delim_pixels.dcm': /No sequence delimiter/,
  // Not Part 10: there is no telling what else it may be, and a reader of what is stored could not tell either.
  '1998052815582995.ct': 'not-dicom',
  'ExplVR_BigEndNoMeta.dcm': 'not-dicom',
  'ExplVR_LitEndNoMeta.dcm': 'not-dicom',
  'html.dcm': 'not-dicom',
  'no_meta.dcm': 'not-dicom',
  'preamble_only.dcm': 'not-dicom',
  'random_bytes.dcm': 'not-dicom',
  'raw_implicit_no_part10.dcm': 'not-dicom',
  'zero_length.dcm': 'not-dicom',
  'zipMR.gz': 'not-dicom',
  'zip_bytes.dcm': 'not-dicom',
  // Cut short: the sender has the rest.
  'MR_truncated.dcm': 'truncated PixelData',
  'deflate_truncated.dcm': 'truncated PixelData',
  'frag_beyond_eof.dcm': 'truncated PixelData',
  'length_beyond_eof.dcm': 'truncated ImageComments',
  'ob_length_fffffff0.dcm': 'truncated EncapsulatedDocument',
  'preamble_dicm_only.dcm': 'truncated DataSet',
  'rtplan_truncated.dcm': 'truncated IsocenterPosition',
  'trunc_in_meta.dcm': 'truncated DataSet',
  'trunc_in_pixels.dcm': 'truncated PixelData',
  'trunc_in_sequence.dcm': 'truncated CodingSchemeDesignator',
  'trunc_in_tag.dcm': 'truncated PixelRepresentation',
  // Cannot be identified.
  '73c81cb_OD-single-word-example.dcm': 'missing-attribute StudyInstanceUID',
  'empty_charset_LEI.dcm': 'missing-attribute SOPClassUID',
  'no_meta_group_length.dcm': 'missing-attribute SOPClassUID',
  'no_series_uid.dcm': 'missing-attribute SeriesInstanceUID',
  'no_sop_class_uid.dcm': 'missing-attribute SOPClassUID',
  'no_sop_instance_uid.dcm': 'missing-attribute SOPInstanceUID',
  'no_study_uid.dcm': 'missing-attribute StudyInstanceUID',
  'uid_empty.dcm': 'missing-attribute SOPInstanceUID',
  'bad_sequence.dcm': 'invalid-attribute SOPInstanceUID',
  'uid_letters.dcm': 'invalid-attribute SOPInstanceUID',
  'uid_path_traversal.dcm': 'invalid-attribute SOPInstanceUID',
  'uid_slash_null.dcm': 'invalid-attribute SOPInstanceUID',
  'uid_too_long.dcm': 'invalid-attribute SOPInstanceUID',
  'uid_wildcard.dcm': 'invalid-attribute SOPInstanceUID',
  'meta_missing_tsyntax.dcm': 'malformed-dataset TransferSyntaxUID',
  'random_after_dicm.dcm': 'malformed-dataset TransferSyntaxUID',
};

test('every bad file has the result that the table says', { skip: skipCorpus }, async (t) => {
  for (const file of corpusFiles('bad/')) {
    const name = file.path.slice('bad/'.length);
    const expected = BAD[name];
    const { scan, code, attribute } = await outcome(readCorpusFile(file));
    const warnings = scan?.warnings.map((warning) => `${warning.attribute}: ${warning.rule}`);
    if (expected === true) t.strictSame(warnings, [], name);
    else if (typeof expected === 'string') t.equal([code, attribute].filter(Boolean).join(' '), expected, name);
    else t.match(warnings?.join('\n'), expected, name);
  }
});

test('chunks of any size give one result', { skip: skipCorpus }, async (t) => {
  for (const file of corpusFiles()) {
    const bytes = readCorpusFile(file);
    const whole = await outcome(bytes);
    // Byte by byte what is small; the rest in sizes that meet every kind of boundary.
    const sizes = bytes.length < 20_000 ? [1, 7, 4096] : bytes.length < 200_000 ? [7, 4096] : [4096];
    for (const size of sizes) {
      // Compared in full only where they differ: that is much slower.
      const parts = await outcome(bytes, size);
      if (!isDeepStrictEqual(parts, whole)) t.strictSame(parts, whole, `${file.path} in ${size}`);
    }
  }
});

test('nothing outside bad/ breaks off', { skip: skipCorpus }, async (t) => {
  for (const file of corpusFiles()) {
    if (file.path.startsWith('bad/')) continue;
    const { code } = await outcome(readCorpusFile(file));
    // Some of the corpus are no composite instances: directories, query identifiers, bare data sets.
    t.match(String(code), /^(undefined|missing-attribute|not-dicom)$/, file.path);
  }
});

test('damaged files are stored or refused, in one way for any chunk size', { skip: skipCorpus }, async (t) => {
  const files = ['transfer-syntax/MR_small_implicit.dcm', 'transfer-syntax/jpeg_baseline_5f_multifrag_BOT.dcm'];
  files.push('charset/syn_item_overrides_charset.dcm', 'objects/sr/sr.dcm', 'transfer-syntax/image_dfl.dcm');
  let seed = 1;
  const random = (below: number) => {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    return seed % below;
  };
  for (const file of files) {
    const original = readCorpusFile(file);
    for (let round = 0; round < 60; round++) {
      const bytes = Buffer.from(original.subarray(0, round % 4 ? original.length : random(original.length)));
      const header = Math.min(bytes.length, 6000);
      for (let i = 0; i < 1 + (round % 5) && header > 0; i++) bytes[random(header)] = random(256);
      // Anything but a DagpacsError is thrown from here, and fails the test.
      const whole = await outcome(bytes);
      const parts = await outcome(bytes, 1 + random(500));
      if (!isDeepStrictEqual(parts, whole)) t.strictSame(parts, whole, `${file} round ${round}`);
    }
  }
});
