/**
 * Which addresses are public, and what the others are for.
 *
 * After IANA's registries of special-purpose addresses (RFC 6890 and what updates it). The test is for IPv6 the other
 * way around than for IPv4: what IANA has not given out (all but 2000::/3) is nobody's, and so not public.
 */
import { BlockList, isIP } from 'node:net';

type Row = readonly [network: string, prefix: number, purpose: string];

const IPV4: readonly Row[] = [
	['0.0.0.0', 8, 'this network'],
	['10.0.0.0', 8, 'private'],
	['100.64.0.0', 10, 'carrier-grade NAT'],
	['127.0.0.0', 8, 'loopback'],
	['169.254.0.0', 16, 'link-local'],
	['172.16.0.0', 12, 'private'],
	['192.0.0.0', 24, 'protocol assignments'],
	['192.0.2.0', 24, 'documentation'],
	['192.88.99.0', 24, '6to4'],
	['192.168.0.0', 16, 'private'],
	['198.18.0.0', 15, 'benchmarking'],
	['198.51.100.0', 24, 'documentation'],
	['203.0.113.0', 24, 'documentation'],
	['224.0.0.0', 4, 'multicast'],
	['240.0.0.0', 4, 'reserved'],
	// Azure's, which answers from a public range. The other clouds have theirs in link-local, CGNAT and private ones.
	['168.63.129.16', 32, 'cloud metadata'],
];

const IPV6: readonly Row[] = [
	['::', 128, 'unspecified'],
	['::1', 128, 'loopback'],
	['::ffff:0:0', 96, 'IPv4-mapped'],
	['::', 96, 'IPv4-compatible'],
	['64:ff9b:1::', 48, 'local NAT64'],
	['100::', 64, 'discard'],
	['fc00::', 7, 'private'],
	['fe80::', 10, 'link-local'],
	['fec0::', 10, 'site-local'],
	['ff00::', 8, 'multicast'],
	// Teredo among them.
	['2001::', 23, 'protocol assignments'],
	['2001:db8::', 32, 'documentation'],
	['2002::', 16, '6to4'],
	['3fff::', 20, 'documentation'],
];

const IPV4_SPECIAL = IPV4.map((row) => [listOf(row, 'ipv4'), row[2]] as const);
const IPV6_SPECIAL = IPV6.map((row) => [listOf(row, 'ipv6'), row[2]] as const);
const GLOBAL_UNICAST = listOf(['2000::', 3, ''], 'ipv6');
/** RFC 6052: the last 32 bits are the IPv4 address that is meant. */
const NAT64 = listOf(['64:ff9b::', 96, ''], 'ipv6');

function listOf([network, prefix]: Row, family: 'ipv4' | 'ipv6'): BlockList {
	const list = new BlockList();
	list.addSubnet(network, prefix, family);
	return list;
}

/** What an address is for when it is not public, in a word or two; undefined when it is public. */
export function purposeOf(address: string): string | undefined {
	const family = isIP(address);
	if (family === 4) return IPV4_SPECIAL.find(([list]) => list.check(address, 'ipv4'))?.[1];
	// A zone names an interface of this machine, and a BlockList does not read one.
	if (family !== 6 || address.includes('%')) return family === 6 ? 'link-local' : 'no address';
	if (NAT64.check(address, 'ipv6')) return purposeOf(lastIpv4(address));
	const special = IPV6_SPECIAL.find(([list]) => list.check(address, 'ipv6'))?.[1];
	return special ?? (GLOBAL_UNICAST.check(address, 'ipv6') ? undefined : 'not in use');
}

/** The last 32 bits of an IPv6 address as an IPv4 address. */
function lastIpv4(address: string): string {
	// As URLs have it: hexadecimal throughout, and the longest run of zeros left out.
	const short = new URL(`http://[${address}]`).hostname.slice(1, -1);
	const after = short.split('::').at(-1) ?? '';
	const [high = 0, low = 0] = ['0', '0', ...after.split(':')]
		.slice(-2)
		.map((group) => Number.parseInt(group || '0', 16));
	return [high >> 8, high & 0xff, low >> 8, low & 0xff].join('.');
}

/** The addresses that networks of Instances are made of: a network for each server that may reach something. */
const INSTANCES = listOf(['198.18.0.0', 15, ''], 'ipv4');

/** Whether an address, also one that is mapped into IPv6, is of a network of Instances: ours in it, or one of theirs. */
export function isInstanceAddress(address: string | undefined): boolean {
	return address !== undefined && holds(INSTANCES, address);
}

/** Whether a text is an address, or a network like `10.0.0.0/8`; not all there is, which would be no choice. */
export function isNetwork(text: string): boolean {
	const [address = '', prefix, ...rest] = text.split('/');
	const bits = isIP(address) === 4 ? 32 : 128;
	if (isIP(address) === 0 || address.includes('%') || rest.length > 0) return false;
	return prefix === undefined || (/^[1-9]\d{0,2}$/.test(prefix) && Number(prefix) <= bits);
}

/** The addresses of networks, each as isNetwork has it. */
export function networksOf(texts: readonly string[]): { has(address: string): boolean } {
	const list = new BlockList();
	for (const text of texts) {
		const [address = '', prefix] = text.split('/');
		const family = isIP(address) === 4 ? 'ipv4' : 'ipv6';
		if (prefix === undefined) list.addAddress(address, family);
		else list.addSubnet(address, Number(prefix), family);
	}
	return { has: (address) => holds(list, address) };
}

/**
 * What stands for all the addresses that one customer of a network has: an IPv4 address itself, also where it comes
 * mapped into IPv6, and of any other IPv6 address its /64.
 */
export function siteOf(address: string): string {
	const bare = address.replace(/%.*$/, '');
	if (isIP(bare) !== 6) return bare;
	if (MAPPED.check(bare, 'ipv6')) return lastIpv4(bare);
	const [head = '', tail] = new URL(`http://[${bare}]`).hostname.slice(1, -1).split('::');
	const before = head === '' ? [] : head.split(':');
	const after = tail === undefined || tail === '' ? [] : tail.split(':');
	const zeros = Array.from({ length: Math.max(0, 8 - before.length - after.length) }, () => '0');
	return `${[...before, ...zeros, ...after].slice(0, 4).join(':')}::/64`;
}

const MAPPED = listOf(['::ffff:0:0', 96, ''], 'ipv6');

function holds(list: BlockList, address: string): boolean {
	const family = isIP(address);
	return family !== 0 && list.check(address, family === 4 ? 'ipv4' : 'ipv6');
}
