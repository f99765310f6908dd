/** What holds for every address, name and message. */
import assert from 'node:assert/strict';
import { isIP } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import { purposeOf } from '../../src/addresses.ts';
import { parseEgress } from '../../src/catalog/egress.ts';
import { answerHeaders, readForwarded } from '../../src/egress/messages.ts';
import { formatTarget, isAllowed, parseTarget, Rules } from '../../src/egress/rules.ts';
import type { ServerName } from '../../src/ids.ts';

const byte = fc.integer({ min: 0, max: 255 });
const ipv4 = fc.tuple(byte, byte, byte, byte);

/** RFC 6890 and its updates again, as arithmetic, so that two writings of it are held against each other. */
function isPublic([a, b, c, d]: [number, number, number, number]): boolean {
	const value = ((a * 256 + b) * 256 + c) * 256 + d;
	const within = (first: number, bits: number): boolean =>
		Math.floor(value / 2 ** bits) === Math.floor(first / 2 ** bits);
	const at = (w: number, x = 0, y = 0, z = 0): number => ((w * 256 + x) * 256 + y) * 256 + z;
	const special: [number, number][] = [
		[at(0), 24],
		[at(10), 24],
		[at(100, 64), 22],
		[at(127), 24],
		[at(169, 254), 16],
		[at(172, 16), 20],
		[at(192), 8],
		[at(192, 0, 2), 8],
		[at(192, 88, 99), 8],
		[at(192, 168), 16],
		[at(198, 18), 17],
		[at(198, 51, 100), 8],
		[at(203, 0, 113), 8],
		[at(224), 28],
		[at(240), 28],
		[at(168, 63, 129, 16), 0],
	];
	return !special.some(([first, bits]) => within(first, bits));
}

test('an IPv4 address is public when arithmetic says so, and behind NAT64 the same', () => {
	fc.assert(
		fc.property(ipv4, (parts) => {
			const text = parts.join('.');
			assert.equal(purposeOf(text) === undefined, isPublic(parts), text);
			assert.equal(purposeOf(`64:ff9b::${text}`), purposeOf(text));
			const [a, b, c, d] = parts;
			const groups = [a * 256 + b, c * 256 + d].map((group) => group.toString(16)).join(':');
			for (const prefix of ['64:ff9b::', '0064:ff9b:0:0:0:0:'])
				assert.equal(purposeOf(prefix + groups), purposeOf(text));
			for (const prefix of ['::ffff:', '::', '2002:', '64:ff9b:1::'])
				assert.notEqual(purposeOf(`${prefix}${prefix === '2002:' ? `${groups}::` : groups}`), undefined);
		}),
		{ numRuns: 2000 },
	);
});

test('an IPv6 address outside 2000::/3 is public only as NAT64', () => {
	fc.assert(
		fc.property(fc.ipV6(), (address) => {
			const first = Number.parseInt(new URL(`http://[${address}]`).hostname.slice(1).split(':')[0] || '0', 16);
			if (purposeOf(address) !== undefined) return;
			assert.ok((first >= 0x2000 && first <= 0x3fff) || first === 0x64, address);
		}),
		{ numRuns: 2000 },
	);
});

const label = fc.stringMatching(/^[a-z]([a-z0-9-]{0,8}[a-z0-9])?$/);
const name = fc.array(label, { minLength: 2, maxLength: 4 }).map((labels) => labels.join('.'));
const port = fc.integer({ min: 1, max: 65_535 });

test('a rule allows its own host and port, a wildcard what is below it, and neither anything else', () => {
	fc.assert(
		fc.property(name, name, port, port, (host, other, one, two) => {
			const [rule, below] = [parseEgress(`${host}:${one}`), parseEgress(`*.${host}:${one}`)];
			assert.ok(rule !== undefined && below !== undefined);
			assert.ok(isAllowed([rule], { host, port: one }));
			assert.equal(isAllowed([rule], { host: other, port: two }), host === other && one === two);
			assert.ok(!isAllowed([rule], { host: `${other}.${host}`, port: one }));
			assert.ok(isAllowed([below], { host: `${other}.${host}`, port: one }));
			assert.ok(!isAllowed([below], { host, port: one }));
			assert.ok(
				!isAllowed([below], { host: `${host}.${other}`, port: one }) || `${host}.${other}`.endsWith(`.${host}`),
			);
			assert.ok(!isAllowed([below], { host: `x${host}`, port: one }) || `x${host}`.endsWith(`.${host}`));
		}),
	);
});

test('whatever text a target is read from, it is a name or an address in its one form, and reads back the same', () => {
	const text = fc.oneof(
		fc.string(),
		fc.string({ unit: fc.constantFrom(...'a.1:[]xF%@/ -_') }),
		fc.tuple(name, port).map(([host, at]) => `${host}:${at}`),
		fc.tuple(fc.ipV6(), port).map(([host, at]) => `[${host}]:${at}`),
	);
	fc.assert(
		fc.property(text, (written) => {
			const target = parseTarget(written);
			if (target === undefined) return;
			assert.ok(isIP(target.host) !== 0 || /^[a-z0-9-]+(\.[a-z0-9-]+)+$/.test(target.host), written);
			assert.deepEqual(parseTarget(formatTarget(target)), target);
		}),
		{ numRuns: 2000 },
	);
});

test('the server of a connection is the one whose network both its ends are of, whatever the two are', () => {
	const networks = [0, 2, 4].map((third) => ({
		server: `s${third}` as ServerName,
		subnet: `198.18.${third}.0/23`,
		address: `198.18.${third}.2`,
		allowed: [],
	}));
	const rules = new Rules({ revision: 1, networks });
	const near = fc.tuple(fc.integer({ min: 0, max: 6 }), fc.integer({ min: 0, max: 4 }));
	fc.assert(
		fc.property(near, near, ([c, d], [e, f]) => {
			const found = rules.sourceOf({ local: `198.18.${c}.${d}`, remote: `198.18.${e}.${f}` });
			const expected = d === 2 && c % 2 === 0 && c <= 4 && Math.floor(e / 2) === c / 2 && !(c === e && f === 2);
			assert.equal(found?.server, expected ? `s${c}` : undefined);
		}),
		{ numRuns: 2000 },
	);
});

const header = fc.tuple(
	fc.constantFrom(
		'Host',
		'host',
		'Connection',
		'Content-Length',
		'content-length',
		'Transfer-Encoding',
		'TE',
		'Upgrade',
		'X-A',
		'x-b',
		'Proxy-Authorization',
		'Keep-Alive',
	),
	fc.constantFrom(
		'good.example',
		'bad.example',
		'4',
		'04',
		'-1',
		'4,4',
		'chunked',
		'gzip, chunked',
		'x-a',
		'close, X-B, host',
		'',
	),
);

test('what is passed on has one Host, that of its target, one length at most, and nothing of the hop', () => {
	fc.assert(
		fc.property(fc.array(header, { maxLength: 8 }), (headers) => {
			const rawHeaders = [...headers.flat()];
			const forwarded = readForwarded({ method: 'POST', url: 'http://good.example/', rawHeaders });
			const sent = typeof forwarded === 'string' ? answerHeaders(rawHeaders) : forwarded.headers;
			const names = sent.filter((_, index) => index % 2 === 0).map((one) => one.toLowerCase());
			const hop = typeof forwarded === 'string' ? ['transfer-encoding'] : [];
			for (const gone of ['te', 'upgrade', 'proxy-authorization', 'keep-alive', ...hop])
				assert.ok(!names.includes(gone), gone);
			assert.equal(names.filter((one) => one === 'connection').length, 1);
			if (typeof forwarded === 'string') return;
			assert.equal(names.filter((one) => one === 'host').length, 1);
			assert.equal(forwarded.headers[1], 'good.example');
			const framing = names.filter((one) => one === 'content-length' || one === 'transfer-encoding');
			assert.ok(framing.length <= 1);
			assert.equal(framing.length === 1, forwarded.hasBody);
			assert.equal(headers.filter(([one]) => one.toLowerCase() === 'host').length, 1);
		}),
		{ numRuns: 3000 },
	);
});
