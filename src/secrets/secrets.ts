/**
 * The secrets that the catalog names, as the launcher knows them now.
 *
 * Whoever starts an Instance looks again first, so that it gets what counts at that moment; between starts they are looked
 * at every pollIntervalMs, so that Instances with an old value do not stay.
 */
import { createHmac, randomBytes } from 'node:crypto';
import type { Catalog, Server } from '../catalog/catalog.ts';
import type { SecretsConfig } from '../config.ts';
import { SlipwayError } from '../errors.ts';
import { SECRET_LIMITS } from '../limits.ts';
import type { Delivered } from './delivery.ts';
import { findSecret } from './sources.ts';
import { examineValue, type Finding, MISSING } from './value.ts';

/** What one Instance is given. */
export interface ServerSecrets {
	readonly delivered: readonly Delivered[];
	/** Another one for other values; it tells nothing of them. */
	readonly fingerprint: string;
}

export interface SecretsOptions {
	readonly sources: SecretsConfig;
	readonly catalog: Catalog;
	/** The fingerprint of a server may be another one now. */
	readonly onChange: () => void;
}

/** INVARIANT: `#known` has every name of the catalog, as it was when it was looked at last. */
export class Secrets {
	readonly #options: SecretsOptions;
	/** Of this process alone, so that a fingerprint is of no use to who wants to try values. */
	readonly #key = randomBytes(32);
	readonly #known = new Map<string, Finding>();
	/** Of the values that are known now. */
	#fingerprints = new WeakMap<Server, string>();
	#poll: NodeJS.Timeout | undefined;
	/** Those of a catalog file that has them in it, in a form of other programs: whoever names that file means these. */
	#inCatalog: Catalog['secretValues'] = new Map();

	constructor(options: SecretsOptions) {
		this.#options = options;
		this.setCatalog(options.catalog);
	}

	/** Looks for changes until it is stopped. */
	start(): void {
		this.#poll ??= setInterval(() => this.#look(this.#known.keys()), SECRET_LIMITS.pollIntervalMs);
	}

	stop(): void {
		clearInterval(this.#poll);
	}

	setCatalog({ servers, secretValues }: Catalog): void {
		this.#inCatalog = secretValues;
		const names = new Set([...servers.values()].flatMap(({ secrets }) => secrets.map(({ name }) => name)));
		for (const name of this.#known.keys()) if (!names.has(name)) this.#known.delete(name);
		this.#look(names);
	}

	/** What stands for the values that a server would be given now; undefined where it is given none. */
	fingerprint(server: Server): string | undefined {
		if (server.secrets.length === 0) return undefined;
		let fingerprint = this.#fingerprints.get(server);
		if (fingerprint === undefined) {
			const digest = createHmac('sha256', this.#key);
			for (const { name } of server.secrets) {
				const finding = this.#known.get(name) ?? MISSING;
				const value = finding.kind === 'found' ? finding.value : undefined;
				digest.update(`${name} ${finding.kind} ${value?.length ?? 0}\n`).update(value ?? '');
			}
			fingerprint = digest.digest('hex');
			this.#fingerprints.set(server, fingerprint);
		}
		return fingerprint;
	}

	/**
	 * The secrets of a server, looked at now; undefined where it is given none.
	 *
	 * @throws SlipwayError SLIPWAY_SECRET_MISSING or SLIPWAY_SECRET_INVALID, which name them
	 */
	resolve(server: Server): ServerSecrets | undefined {
		if (server.secrets.length === 0) return undefined;
		this.#look(server.secrets.map(({ name }) => name));
		const delivered: Delivered[] = [];
		const missing: string[] = [];
		const unusable: string[] = [];
		for (const { variable, name, file } of server.secrets) {
			const finding = this.#known.get(name) ?? MISSING;
			if (finding.kind === 'missing') missing.push(`"${name}"`);
			else if (finding.kind === 'unusable') unusable.push(finding.reason);
			else delivered.push({ variable, value: finding.value, ...(file === undefined ? {} : { file }) });
		}
		if (missing.length > 0)
			throw new SlipwayError('SLIPWAY_SECRET_MISSING', {
				server: server.name,
				reason: `It needs ${missing.join(', ')}.`,
			});
		if (unusable.length > 0)
			throw new SlipwayError('SLIPWAY_SECRET_INVALID', { server: server.name, reason: unusable.join(' ') });
		const bytes = delivered.reduce((sum, { value }) => sum + value.length, 0);
		if (bytes > SECRET_LIMITS.serverBytesMax)
			throw new SlipwayError('SLIPWAY_SECRET_INVALID', {
				server: server.name,
				reason: `Its secrets are longer than ${SECRET_LIMITS.serverBytesMax} bytes together.`,
			});
		return { delivered, fingerprint: this.fingerprint(server) ?? '' };
	}

	#find(name: string): Finding {
		const value = this.#inCatalog.get(name);
		return value === undefined ? findSecret(this.#options.sources, name) : examineValue(name, Buffer.from(value));
	}

	#look(names: Iterable<string>): void {
		let changed = false;
		for (const name of [...names]) {
			const known = this.#known.get(name);
			const finding = this.#find(name);
			if (known !== undefined && isSame(known, finding)) continue;
			this.#known.set(name, finding);
			changed = true;
		}
		if (!changed) return;
		this.#fingerprints = new WeakMap();
		this.#options.onChange();
	}
}

function isSame(one: Finding, other: Finding): boolean {
	if (one.kind === 'found') return other.kind === 'found' && one.value.equals(other.value);
	if (one.kind === 'unusable') return other.kind === 'unusable' && one.reason === other.reason;
	return other.kind === 'missing';
}
