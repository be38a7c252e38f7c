import { test } from 'tap';
import { DEFAULT_CHARACTER_SET } from '../../../src/dicom/charset.ts';
import { decodeElement, stringifyHeader } from '../../../src/dicom/json.ts';
import { vrNamed } from '../../../src/dicom/vr.ts';

function decode(vr: string, value: string | Buffer, bigEndian = false) {
  const bytes = typeof value === 'string' ? Buffer.from(value, 'latin1') : value;
  const rules: string[] = [];
  const context = { bigEndian, charset: DEFAULT_CHARACTER_SET, warn: (rule: string) => void rules.push(rule) };
  return { ...decodeElement(vrNamed(vr), bytes, 0, bytes.length, context), rules };
}

test('text values', (t) => {
  const cases: [vr: string, value: string, expected: unknown[] | undefined][] = [
    ['LO', '', undefined],
    ['LO', '  ', undefined],
    ['LO', ' a b ', ['a b']],
    ['LO', 'a\\\\b\\', ['a', null, 'b', null]],
    ['UI', '1.2\\1.3\0', ['1.2', '1.3']],
    ['ST', ' a\\b ', [' a\\b']],
    ['UC', ' a \\b', [' a', 'b']],
    ['UR', 'http://a/b\\c ', ['http://a/b\\c']],
    ['PN', 'Doe^Jane', [{ Alphabetic: 'Doe^Jane' }]],
    ['PN', 'A=B=C', [{ Alphabetic: 'A', Ideographic: 'B', Phonetic: 'C' }]],
    ['PN', '=B', [{ Ideographic: 'B' }]],
    ['PN', 'A\\\\=', [{ Alphabetic: 'A' }, null, null]],
    ['AS', '054Y', ['054Y']],
  ];
  for (const [vr, value, expected] of cases) {
    const { Value, rules } = decode(vr, value);
    t.strictSame(Value, expected, `${vr} ${JSON.stringify(value)}`);
    t.strictSame(rules, []);
  }
  t.match(decode('PN', 'A=B=C=D'), { Value: [{ Phonetic: 'C=D' }], rules: [/More than three/] });
  t.end();
});

test('numbers as text: numbers where a double holds them exactly, else what was written', (t) => {
  const cases: [vr: string, value: string, expected: unknown, wrong?: boolean][] = [
    ['IS', ' 12 ', 12],
    ['IS', '+5', 5],
    ['IS', '-0', 0],
    ['IS', '2147483647', 2147483647],
    ['IS', '9007199254740993', '9007199254740993'],
    ['IS', '12a', '12a', true],
    ['IS', '1.0', '1.0', true],
    ['DS', '1.50', 1.5],
    ['DS', '-1.5E-3', -0.0015],
    ['DS', '.5', 0.5],
    ['DS', '1.', 1],
    ['DS', '0.1', 0.1],
    ['DS', '0.000000000000000000', 0],
    ['DS', '123456789.1234567891', '123456789.1234567891'],
    ['DS', '189.4312500000000', 189.43125],
    ['DS', '1e400', '1e400'],
    ['DS', '1e-400', '1e-400'],
    ['DS', '1,5', '1,5', true],
    ['DS', 'NaN', 'NaN', true],
  ];
  for (const [vr, value, expected, wrong = false] of cases) {
    const { Value, rules } = decode(vr, value);
    t.strictSame(Value, [expected], `${vr} ${value}`);
    t.equal(rules.length > 0, wrong);
  }
  t.end();
});

test('binary values in both byte orders', (t) => {
  const cases: [vr: string, hex: string, expected: unknown[]][] = [
    ['US', '0100ffff', [1, 65535]],
    ['SS', 'ffff', [-1]],
    ['UL', 'ffffffff', [4294967295]],
    ['SL', 'feffffff', [-2]],
    ['FL', '0000c03f', [1.5]],
    ['FL', '0000c07f0000807f000080ff', ['NaN', 'inf', '-inf']],
    ['FD', '000000000000f83f', [1.5]],
    ['UV', 'ffffffffffffffff', ['18446744073709551615']],
    ['SV', 'ffffffffffffffff', [-1]],
    ['SV', '0100000000002000', ['9007199254740993']],
    ['AT', '100020000800e0ff', ['00100020', '0008FFE0']],
  ];
  for (const [vr, hex, expected] of cases) {
    const little = Buffer.from(hex, 'hex');
    const big = Buffer.from(little);
    const unit = vr === 'AT' ? 2 : vrNamed(vr).unit;
    if (unit === 2) big.swap16();
    else if (unit === 4) big.swap32();
    else big.swap64();
    t.strictSame(decode(vr, little).Value, expected, vr);
    t.strictSame(decode(vr, big, true).Value, expected, `${vr} big-endian`);
  }
  t.strictSame(
    decode('OW', Buffer.from([1, 2, 3, 4]), true).InlineBinary,
    Buffer.from([2, 1, 4, 3]).toString('base64'),
  );
  t.strictSame(decode('OB', Buffer.from([1, 2]), true).InlineBinary, Buffer.from([1, 2]).toString('base64'));
  t.match(decode('US', Buffer.from([1, 0, 2])), { Value: [1], rules: [/multiple of 2/] });
  t.end();
});

test('values that break their rule are kept, with a warning', (t) => {
  const cases: [vr: string, value: string][] = [
    ['DA', '20241399'],
    ['DA', '2024.01.02'],
    ['TM', '9999'],
    ['TM', '10:15:30'],
    ['SH', 'x'.repeat(17)],
    ['LO', 'x'.repeat(65)],
    ['CS', 'x'.repeat(17)],
  ];
  for (const [vr, value] of cases) t.match(decode(vr, value), { Value: [value], rules: [/PS3\.5/] }, `${vr} ${value}`);
  for (const time of ['10', '1015', '101530', '101530.1', '235960']) t.strictSame(decode('TM', time).rules, []);
  t.end();
});

test('JSON in the order of tags', (t) => {
  const item = { '00080100': { vr: 'SH', Value: ['A'] }, '30060020': { vr: 'SQ' } };
  const header = {
    '00100010': { vr: 'PN', Value: [{ Alphabetic: 'Müller "M"' }] },
    '00400275': { vr: 'SQ', Value: [item, {}] },
    '30060020': { vr: 'SQ', Value: [{ '30060022': { vr: 'IS', Value: [1] } }] },
    '7FE00010': { vr: 'OW', BulkDataURI: 'bulk:/7FE00010' },
  };
  const text = stringifyHeader(header);
  t.strictSame(JSON.parse(text), header);
  const order = [...text.matchAll(/"([0-9A-F]{8})":/g)].map(([, tag]) => tag);
  t.strictSame(order, ['00100010', '00400275', '00080100', '30060020', '30060020', '30060022', '7FE00010']);
  t.equal(stringifyHeader({ '00100020': { vr: 'LO' } }), '{"00100020":{"vr":"LO"}}');
  t.end();
});
