import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isInstanceAddress, isNetwork, networksOf, purposeOf, siteOf } from '../../src/addresses.ts';

/** First and last of every special range, and what is next to it on both sides where that is public. */
const RANGES: readonly (readonly [
	purpose: string,
	first: string,
	last: string,
	before?: string | undefined,
	after?: string,
])[] = [
	['this network', '0.0.0.0', '0.255.255.255', undefined, '1.0.0.0'],
	['private', '10.0.0.0', '10.255.255.255', '9.255.255.255', '11.0.0.0'],
	['carrier-grade NAT', '100.64.0.0', '100.127.255.255', '100.63.255.255', '100.128.0.0'],
	['loopback', '127.0.0.0', '127.255.255.255', '126.255.255.255', '128.0.0.0'],
	['link-local', '169.254.0.0', '169.254.255.255', '169.253.255.255', '169.255.0.0'],
	['private', '172.16.0.0', '172.31.255.255', '172.15.255.255', '172.32.0.0'],
	['protocol assignments', '192.0.0.0', '192.0.0.255', '191.255.255.255', '192.0.1.0'],
	['documentation', '192.0.2.0', '192.0.2.255', '192.0.1.255', '192.0.3.0'],
	['6to4', '192.88.99.0', '192.88.99.255', '192.88.98.255', '192.88.100.0'],
	['private', '192.168.0.0', '192.168.255.255', '192.167.255.255', '192.169.0.0'],
	['benchmarking', '198.18.0.0', '198.19.255.255', '198.17.255.255', '198.20.0.0'],
	['documentation', '198.51.100.0', '198.51.100.255', '198.51.99.255', '198.51.101.0'],
	['documentation', '203.0.113.0', '203.0.113.255', '203.0.112.255', '203.0.114.0'],
	['multicast', '224.0.0.0', '239.255.255.255', '223.255.255.255'],
	['reserved', '240.0.0.0', '255.255.255.255'],
	['cloud metadata', '168.63.129.16', '168.63.129.16', '168.63.129.15', '168.63.129.17'],
	['unspecified', '::', '::'],
	['loopback', '::1', '::1'],
	['IPv4-mapped', '::ffff:0.0.0.0', '::ffff:255.255.255.255'],
	['IPv4-compatible', '::2', '::255.255.255.255'],
	['local NAT64', '64:ff9b:1::', '64:ff9b:1:ffff:ffff:ffff:ffff:ffff'],
	['discard', '100::', '100::ffff:ffff:ffff:ffff'],
	['private', 'fc00::', 'fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
	['link-local', 'fe80::', 'febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
	['site-local', 'fec0::', 'feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
	['multicast', 'ff00::', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
	['protocol assignments', '2001::', '2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff', '2000:ffff:ffff::', '2001:200::'],
	['documentation', '2001:db8::', '2001:db8:ffff:ffff:ffff:ffff:ffff:ffff', '2001:db7:ffff::', '2001:db9::'],
	['6to4', '2002::', '2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff', '2001:ffff:ffff::', '2003::'],
	['documentation', '3fff::', '3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff', '3ffe:ffff::', '3fff:1000::'],
	['not in use', '4000::', 'fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', '3fff:ffff:ffff::'],
	['not in use', '64:ff9a::', '64:ff9a:ffff::'],
];

for (const [purpose, first, last, before, after] of RANGES) {
	test(`${first} to ${last} is ${purpose}, and what is around it is not`, () => {
		assert.equal(purposeOf(first), purpose);
		assert.equal(purposeOf(last), purpose);
		for (const public_ of [before, after])
			if (public_ !== undefined) assert.equal(purposeOf(public_), undefined, public_);
	});
}

test('the metadata services of the clouds are not public, wherever they answer', () => {
	for (const address of [
		'169.254.169.254',
		'100.100.100.200',
		'192.0.0.192',
		'168.63.129.16',
		'fd00:ec2::254',
		'fd20:ce::254',
	])
		assert.notEqual(purposeOf(address), undefined, address);
});

test('an address behind NAT64 is what the IPv4 address in it is', () => {
	assert.equal(purposeOf('64:ff9b::8.8.8.8'), undefined);
	assert.equal(purposeOf('64:ff9b::808:808'), undefined);
	assert.equal(purposeOf('64:ff9b::10.0.0.1'), 'private');
	assert.equal(purposeOf('64:ff9b::7f00:1'), 'loopback');
	assert.equal(purposeOf('64:ff9b::'), 'this network');
	assert.equal(purposeOf('64:ff9b::a9fe:0'), 'link-local');
	assert.equal(purposeOf('64:ff9b:0:0:0:0:a9fe:a9fe'), 'link-local');
	assert.equal(purposeOf('64:ff9b::1'), 'this network');
});

test('what is no address, or names an interface, is not public', () => {
	for (const text of ['', 'example.com', '1.2.3', '1.2.3.4.5', '0x7f.1', '8.8.8.8 ', '[2606:4700::1]', '256.1.1.1'])
		assert.equal(purposeOf(text), 'no address', text);
	assert.equal(purposeOf('2606:4700::1%eth0'), 'link-local');
});

test('an address of a network of Instances is known by itself and mapped into IPv6, and no other is one', () => {
	for (const address of ['198.18.0.0', '198.18.0.2', '198.19.255.255'])
		for (const form of [address, `::ffff:${address}`, `::FFFF:${address}`, `::ffff:${address}%eth0`])
			assert.equal(isInstanceAddress(form), true, form);
	assert.equal(isInstanceAddress('::ffff:c612:2'), true, 'in hexadecimal');
	for (const address of [
		'198.17.255.255',
		'198.20.0.0',
		'127.0.0.1',
		'::1',
		'::ffff:127.0.0.1',
		'fe80::1%eth0',
		'',
		'x',
	])
		assert.equal(isInstanceAddress(address), false, address);
	assert.equal(isInstanceAddress(undefined), false);
});

test('networks hold what is in them, in either form of it', () => {
	const networks = networksOf(['10.0.0.0/8', '192.0.2.1', 'fd00::/8', '2001:db8::1']);
	for (const inside of ['10.255.0.1', '::ffff:10.0.0.1', '192.0.2.1', 'fd12::1', '2001:db8::1', '2001:DB8:0::1'])
		assert.equal(networks.has(inside), true, inside);
	for (const outside of ['11.0.0.1', '192.0.2.2', 'fe80::1', '2001:db8::2', '::a00:1', '', 'localhost'])
		assert.equal(networks.has(outside), false, outside);
	assert.equal(networksOf([]).has('127.0.0.1'), false);
});

test('a network is an address, with the length of a prefix or without, and never all there is', () => {
	for (const good of ['10.0.0.1', '10.0.0.0/8', '10.0.0.0/32', '::1', 'fd00::/8', 'fd00::/128'])
		assert.equal(isNetwork(good), true, good);
	for (const bad of [
		'',
		'10.0.0',
		'10.0.0.0/33',
		'10.0.0.0/0',
		'::/0',
		'::/129',
		'10.0.0.0/08',
		'10.0.0.0/',
		'10.0.0.0/8/8',
		'a/8',
		'fe80::1%eth0',
		'*',
		'localhost',
	])
		assert.equal(isNetwork(bad), false, bad);
});

test('an address stands for itself, and one of IPv6 for its /64', () => {
	const table: [address: string, site: string][] = [
		['192.0.2.1', '192.0.2.1'],
		['::ffff:192.0.2.1', '192.0.2.1'],
		['::ffff:c000:201', '192.0.2.1'],
		['::1', '0:0:0:0::/64'],
		['::', '0:0:0:0::/64'],
		['1::', '1:0:0:0::/64'],
		['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
		['2001:DB8:1:2::', '2001:db8:1:2::/64'],
		['2001:0db8:0001:0002::9', '2001:db8:1:2::/64'],
		['2001:db8::1:2:3:4:5', '2001:db8:0:1::/64'],
		['fe80::1%eth0', 'fe80:0:0:0::/64'],
		['', ''],
	];
	for (const [address, site] of table) assert.equal(siteOf(address), site, address);
});
