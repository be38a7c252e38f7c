import { test } from 'tap';
import {
  acceptTextOf,
  chooseRepresentation,
  contentTypeOf,
  parseAccept,
  parseContentType,
  type Representation,
} from '../../../src/dicom/accept.ts';

const JPEG = '1.2.840.10008.1.2.4.50';
const NATIVE = '1.2.840.10008.1.2.1';
const OFFERS: Representation[] = [
  { multipart: true, type: 'application/octet-stream', transferSyntaxUID: JPEG },
  { multipart: true, type: 'image/jpeg', transferSyntaxUID: JPEG },
  { multipart: false, type: 'application/octet-stream', transferSyntaxUID: JPEG },
  { multipart: false, type: 'image/jpeg', transferSyntaxUID: JPEG },
];

test('Accept headers as viewers and toolkits send them', (t) => {
  const cases: [string | undefined, number | undefined][] = [
    [undefined, 0],
    ['', 0],
    ['*/*', 0],
    ['text/html, image/gif, *; q=.2, */*; q=.2', 0],
    ['multipart/related; type=application/octet-stream; transfer-syntax=*', 0],
    ['multipart/related; type="application/octet-stream"; transfer-syntax=*', 0],
    ['multipart/related;type="application/octet-stream"', 0],
    ['multipart/related', 0],
    ['multipart/*', 0],
    ['Multipart/Related; Type="Image/JPEG"', 1],
    ['multipart/related; type="image/*"', 1],
    [`multipart/related; type="image/jpeg"; transfer-syntax=${JPEG}`, 1],
    [`multipart/related; type="image/jpeg"; transfer-syntax="${JPEG}"`, 1],
    [`multipart/related; type="image/jpeg; transfer-syntax=${JPEG}"`, 1],
    [`multipart/related; type="image/jpeg;transfer-syntax=${NATIVE}"`, undefined],
    ['application/octet-stream', 2],
    ['image/jpeg; charset=utf-8', 3],
    ['application/octet-stream; transfer-syntax=*', 2],
    ['image/jpeg', 3],
    ['image/*', 3],
    ['image/png, image/jpeg', 3],
    ['image/jpeg, multipart/related; type="image/jpeg"', 3],
    ['image/jpeg;q=0.5, multipart/related; type="image/jpeg";q=0.9', 1],
    ['multipart/related; type="image/jpeg"; q=0, */*; q=0.1', 0],
    ['multipart/related; q=0, */*; q=0.1', 2],
    [`multipart/related; type="application/octet-stream"; transfer-syntax=${NATIVE}`, undefined],
    [`multipart/related; type=image/jls, multipart/related; type=image/jp2`, undefined],
    ['application/dicom', undefined],
    ['text/html', undefined],
    ['*/*; q=0', undefined],
  ];
  for (const [accept, expected] of cases) {
    const chosen = chooseRepresentation(parseAccept(accept), OFFERS);
    t.equal(chosen && OFFERS.indexOf(chosen), expected, accept ?? 'none');
  }
  t.end();
});

test('what is no Accept header is refused', (t) => {
  for (const accept of ['nonsense', 'a/b c/d', 'a/b; q=2', 'a/b; q=x', 'a/b; type="open', 'é/b', 'a/b,'.repeat(3000)]) {
    t.throws(
      () => parseAccept(accept),
      { code: 'invalid-parameter', subject: { attribute: 'Accept' } },
      accept.slice(0, 20),
    );
  }
  t.end();
});

test('Content-Type', (t) => {
  const media = parseContentType('Multipart/Related; type="application/dicom"; Boundary="a \\"b\\"; c"');
  t.equal(media?.type, 'multipart/related');
  t.strictSame(
    [...(media?.parameters ?? [])],
    [
      ['type', 'application/dicom'],
      ['boundary', 'a "b"; c'],
    ],
  );
  t.equal(
    parseContentType('multipart/related; type=application/dicom; boundary=x_y/z')?.parameters.get('boundary'),
    'x_y/z',
  );
  for (const text of ['', 'dicom', 'a/b, c/d', 'a/b; c="d']) t.equal(parseContentType(text), undefined, text);
  t.end();
});

test('what an answer is called, and how to ask for it', (t) => {
  const [multipart, , single] = OFFERS;
  if (!multipart || !single) throw new Error('no offers');
  t.equal(contentTypeOf(multipart), `application/octet-stream; transfer-syntax=${JPEG}`);
  t.equal(contentTypeOf({ multipart: false, type: 'application/dicom+json' }), 'application/dicom+json');
  t.equal(acceptTextOf(multipart), `multipart/related; type="application/octet-stream"; transfer-syntax=${JPEG}`);
  for (const offer of OFFERS) t.equal(chooseRepresentation(parseAccept(acceptTextOf(offer)), OFFERS), offer);
  t.end();
});
