/**
 * Scopes: what a caller may use, as the claims of a token say it.
 *
 * A scope is `*`, `server:<name>`, `group:<name>`, `tool:<server>/<pattern>` or `admin`.
 * Whatever else an issuer puts into a token is for others, and counts for nothing here.
 */
import { SlipwayError } from '../../errors.ts';
import { POLICY_LIMITS } from '../../limits.ts';
import { isScope } from '../../policy/access.ts';

/** The values of a claim, each with the scopes that whoever has it may use. */
export type ScopeTable = ReadonlyMap<string, readonly string[]>;

/**
 * The table of a configuration, from a JSON object such as `{"developers": ["group:coding"], "operators": ["*", "admin"]}`.
 *
 * @throws SlipwayError SLIPWAY_CONFIG_INVALID that names what is no scope
 */
export function readScopeTable(text: string): ScopeTable {
	const table = new Map<string, readonly string[]>();
	for (const [value, scopes] of Object.entries(parseObject(text))) {
		if (!Array.isArray(scopes)) throw invalidTable(`${JSON.stringify(value)} must have a list of scopes`);
		const wrong = scopes.find((scope) => typeof scope !== 'string' || !isScope(scope));
		if (wrong !== undefined) throw invalidTable(`${JSON.stringify(wrong)} is no scope`);
		table.set(value, Object.freeze([...scopes]));
	}
	return table;
}

function parseObject(text: string): object {
	let parsed: unknown;
	try {
		parsed = JSON.parse(text);
	} catch (cause) {
		throw invalidTable('it must be JSON', cause);
	}
	if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
		throw invalidTable('it must be an object with a list of scopes for each value of the claim');
	return parsed;
}

function invalidTable(what: string, cause?: unknown): SlipwayError {
	return new SlipwayError(
		'SLIPWAY_CONFIG_INVALID',
		{ reason: `SLIPWAY_OAUTH_SCOPES_MAP is wrong: ${what}.` },
		{ cause },
	);
}

export interface ScopeMapping {
	/** A claim whose values the table has scopes for: its name, or a path to it like `realm_access.roles`. */
	readonly claim: string;
	readonly table: ScopeTable;
}

/**
 * The scopes that the claims of a token give, each once and at most POLICY_LIMITS.scopesMax of them.
 *
 * `scope` is a string with spaces (https://www.rfc-editor.org/rfc/rfc9068#section-2.2.3); some issuers have a list, or
 * call it `scp`. The values of the mapped claim give what the table says and nothing by themselves: a group that
 * happens to be called `admin` must not make anybody one.
 */
export function scopesOf(claims: Readonly<Record<string, unknown>>, mapping?: ScopeMapping): readonly string[] {
	const scopes = new Set([...words(claims['scope']), ...words(claims['scp'])].filter(isScope));
	if (mapping !== undefined) {
		for (const value of valuesOf(claimAt(claims, mapping.claim)))
			for (const scope of mapping.table.get(value) ?? []) scopes.add(scope);
	}
	return Object.freeze([...scopes].slice(0, POLICY_LIMITS.scopesMax));
}

/** Strings of a claim that is one or a list of them. */
function valuesOf(claim: unknown): readonly string[] {
	if (typeof claim === 'string') return [claim];
	return Array.isArray(claim) ? claim.filter((item) => typeof item === 'string') : [];
}

function words(claim: unknown): readonly string[] {
	return valuesOf(claim).flatMap((value) => value.split(' '));
}

/** Names of claims may be URLs with dots in them, so a claim of the whole name goes before a path. */
function claimAt(claims: Readonly<Record<string, unknown>>, path: string): unknown {
	if (Object.hasOwn(claims, path)) return claims[path];
	let value: unknown = claims;
	for (const step of path.split('.')) {
		if (typeof value !== 'object' || value === null) return undefined;
		value = Reflect.get(value, step);
	}
	return value;
}
