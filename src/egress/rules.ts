/** Who asks, and whether it may: functions of the policy and of addresses, with nothing of a connection in them. */
import { BlockList, isIP } from 'node:net';
import { type EgressRule, isHostName, parseEgress } from '../catalog/egress.ts';
import type { ServerName } from '../ids.ts';
import type { EgressNetwork, EgressPolicy } from './contract.ts';

/** Where a server wants to go. */
export interface Target {
	/** A name in lower case without a dot at its end, or an address without brackets. */
	readonly host: string;
	readonly port: number;
}

/** `host:port`, as a line of the catalog has it. */
export function formatTarget({ host, port }: Target): string {
	return `${isIP(host) === 6 ? `[${host}]` : host}:${port}`;
}

/**
 * The target of `host:port`; undefined for anything else. Addresses are taken in their usual form only: what looks like
 * a number and is none of them (`0x7f.1`, `127.1`) is read by some programs as an address, and by this one not at all.
 */
export function parseTarget(text: string, defaultPort?: number): Target | undefined {
	const [, bracketed, plain = '', portText] =
		/^(?:\[([0-9a-fA-F:.]{2,45})\]|([^:[\]]{1,254}))(?::(\d{1,5}))?$/.exec(text) ?? [];
	const port = portText === undefined ? defaultPort : Number(portText);
	if (port === undefined || port < 1 || port > 65_535) return undefined;
	if (bracketed !== undefined) {
		if (isIP(bracketed) !== 6) return undefined;
		return { host: new URL(`http://[${bracketed}]`).hostname.slice(1, -1), port };
	}
	const host = plain.toLowerCase().replace(/\.$/, '');
	return isIP(host) === 4 || isHostName(host) ? { host, port } : undefined;
}

export function isAllowed(rules: readonly EgressRule[], { host, port }: Target): boolean {
	return rules.some(
		(rule) =>
			rule.port === port && (rule.below ? isIP(host) === 0 && host.endsWith(`.${rule.host}`) : host === rule.host),
	);
}

/** A server's own network. */
export interface Source {
	readonly server: ServerName;
	readonly rules: readonly EgressRule[];
}

interface Place extends Source {
	readonly address: string;
	readonly members: BlockList;
}

/** A policy, ready to be asked. */
export class Rules {
	readonly revision: number;
	readonly #places: readonly Place[];

	constructor({ revision, networks }: EgressPolicy) {
		this.revision = revision;
		this.#places = networks.map(toPlace);
	}

	/**
	 * Whose connection this is, by both of its ends.
	 *
	 * The local address alone would not do: a server can send to the proxy's address in another's network, over its own
	 * (Linux takes what is for any of its addresses from any of its interfaces). The remote one it cannot choose, since
	 * the answer to its first packet would go to the network that the address is of.
	 */
	sourceOf({ local, remote }: { readonly local: string; readonly remote: string }): Source | undefined {
		if (isIP(remote) !== 4) return undefined;
		return this.#places.find(({ address, members }) => address === local && remote !== local && members.check(remote));
	}

	/** The rules of a server as they are now; none when it has none any more. */
	rulesOf(server: ServerName): readonly EgressRule[] {
		return this.#places.find((place) => place.server === server)?.rules ?? [];
	}
}

function toPlace({ server, subnet, address, allowed }: EgressNetwork): Place {
	const members = new BlockList();
	const [network = '', prefix] = subnet.split('/');
	members.addSubnet(network, Number(prefix), 'ipv4');
	const rules = allowed.map(parseEgress).filter((rule) => rule !== undefined);
	return { server, address, members, rules };
}
