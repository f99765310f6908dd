/** Lines of `egress` in the catalog: which are good, what is said of the others, and what they come to. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { explainEgress, parseEgress } from '../../src/catalog/egress.ts';
import { hashEntry } from '../../src/catalog/entry-hash.ts';
import { parseCatalog } from '../../src/catalog/load.ts';
import { catalogJsonSchema } from '../../src/catalog/schema.ts';
import { SlipwayError } from '../../src/errors.ts';
import type { ServerName } from '../../src/ids.ts';
import { server } from '../support/fixtures.ts';

const GOOD: readonly (readonly [string, object])[] = [
	['api.github.com:443', { host: 'api.github.com', below: false, port: 443 }],
	['*.example.com:443', { host: 'example.com', below: true, port: 443 }],
	['example.org:80', { host: 'example.org', below: false, port: 80 }],
	['xn--bcher-kva.example:65535', { host: 'xn--bcher-kva.example', below: false, port: 65_535 }],
	['3com.com:1', { host: '3com.com', below: false, port: 1 }],
	['93.184.215.14:443', { host: '93.184.215.14', below: false, port: 443 }],
	['[2606:4700::1111]:443', { host: '2606:4700::1111', below: false, port: 443 }],
];

for (const [line, rule] of GOOD) {
	test(`${line} is a rule`, () => {
		assert.equal(explainEgress(line), undefined);
		assert.deepEqual(parseEgress(line), rule);
	});
}

const BAD: readonly (readonly [string, RegExp])[] = [
	['api.github.com', /names no port\. Write "host:port"/],
	['[2606:4700::1111]', /names no port/],
	['API.github.com:443', /capital letters\. Write it in lower case/],
	['https://api.github.com:443', /is a URL/],
	['api.github.com:443/repos', /has a path/],
	['8.8.8.0/24:443', /has a path or a range/],
	['*:443', /is a whole top-level domain|is not a host and a port/],
	['*.com:443', /is a whole top-level domain/],
	['a.*.com:443', /is not a host and a port/],
	['api*.example.com:443', /is not a host and a port/],
	['localhost:80', /is no name of the internet/],
	['gateway:8080', /is no name of the internet/],
	['example.com:0', /is not a host and a port/],
	['example.com:080', /is not a host and a port/],
	['example.com:65536', /port above 65535/],
	['example.com:https', /is not a host and a port/],
	['example..com:443', /is not a host and a port/],
	['-example.com:443', /is not a host and a port/],
	['example.com.:443', /is not a host and a port/],
	['exam_ple.com:443', /is not a host and a port/],
	['user@example.com:443', /is not a host and a port/],
	[' example.com:443', /is not a host and a port/],
	['example.com:443\n', /is not a host and a port/],
	['', /names no port/],
	['10.0.0.1:443', /is not a public address \(private\)/],
	['127.0.0.1:80', /is not a public address \(loopback\)/],
	['169.254.169.254:80', /is not a public address \(link-local\)/],
	['[::1]:80', /is not a public address \(loopback\)/],
	['[::ffff:8.8.8.8]:80', /is not a host and a port/],
	['[fd00::1]:443', /is not a public address \(private\)/],
	['[2606:4700:0::1111]:443', /shortest form\. Write the address as "\[2606:4700::1111\]"/],
	['[2606::4700::1]:443', /is not an address/],
	['999.1.1.1:443', /is not an address/],
	['1.2.3:443', /is not a host and a port/],
	['example.1:443', /is not a host and a port/],
	[`${'a'.repeat(64)}.com:443`, /is not a host and a port/],
	[`${'a.'.repeat(130)}com:443`, /is longer than a name may be/],
];

for (const [line, message] of BAD) {
	test(`${JSON.stringify(line).slice(0, 60)} is refused: ${message.source}`, () => {
		assert.match(explainEgress(line) ?? 'no complaint', message);
		assert.equal(parseEgress(line), undefined);
	});
}

function catalogWith(egress: unknown) {
	return parseCatalog(JSON.stringify({ servers: { a: { image: 'a:1', egress } } }), 'catalog.json').servers.get(
		'a' as ServerName,
	);
}

function complaint(egress: unknown): string {
	try {
		catalogWith(egress);
		return 'no complaint';
	} catch (error) {
		assert.ok(error instanceof SlipwayError);
		return error.details.reason ?? '';
	}
}

test('a catalog without egress has none, and one with egress has its lines as they are', () => {
	assert.deepEqual(catalogWith(undefined)?.egress, []);
	assert.deepEqual(catalogWith(['b.example:1', 'a.example:1'])?.egress, ['b.example:1', 'a.example:1']);
});

test('what is wrong with egress is told with its place', () => {
	assert.match(
		complaint(['a.example:1', 'nowhere']),
		/catalog\.json:1:\d+ servers\.a\.egress\[1\]: "nowhere" names no port/,
	);
	assert.match(complaint(['a.example:1', 'a.example:1']), /egress\[1\]: "a\.example:1" stands here twice/);
	assert.notEqual(complaint('a.example:1'), 'no complaint');
	assert.notEqual(complaint([1]), 'no complaint');
	assert.notEqual(complaint(Array.from({ length: 65 }, (_, index) => `a${index}.example:1`)), 'no complaint');
	assert.equal(complaint(Array.from({ length: 64 }, (_, index) => `a${index}.example:1`)), 'no complaint');
});

test('the schema for editors has the field, and takes the good lines and few of the bad ones', () => {
	const text = JSON.stringify(catalogJsonSchema());
	const pattern = /"egress":\{[^}]*?"pattern":("(?:[^"\\]|\\.)*")/.exec(text)?.[1];
	const form = new RegExp(JSON.parse(pattern ?? '""'), 'u');
	for (const [line] of GOOD) assert.match(line, form);
	const taken = BAD.filter(([line]) => form.test(line)).map(([line]) => line);
	assert.ok(taken.length < 14, taken.join(' '));
});

test('egress makes another container, and is in the hash of the entry', () => {
	const entry = server('a', { kind: 'image', reference: 'a:1' });
	const other = { ...entry, egress: ['a.example:1'] };
	assert.notEqual(hashEntry(entry, 'i'), hashEntry(other, 'i'));
	assert.notEqual(hashEntry({ ...entry, egress: ['b.example:1'] }, 'i'), hashEntry(other, 'i'));
});
