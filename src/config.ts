/**
 * The settings: read from the environment once, checked, and frozen.
 *
 * docs/config.md is generated from SETTINGS, and compose.yaml passes each of them on; tests hold both in step.
 */
import { join } from 'node:path';
import { z } from 'zod';
import { isNetwork } from './addresses.ts';
import { SlipwayError } from './errors.ts';
import { SECRET_NAME_PATTERN } from './ids.ts';
import { BUDGET_LIMITS, INSTANCE_LIMITS, POLICY_LIMITS, SESSION_LIMITS, WARM_LIMITS } from './limits.ts';
import { LOG_LEVELS, type LogLevel } from './log.ts';

import { bytesOf } from './sizes.ts';

type Role = 'gateway' | 'launcher' | 'command line';

interface Setting<T> {
	readonly schema: z.ZodType<T, string | undefined>;
	/** For the documentation: what holds when it is not set. */
	readonly byDefault: string;
	readonly roles: readonly Role[];
	readonly description: string;
}

function setting<T>(
	schema: z.ZodType<T, string | undefined>,
	byDefault: string,
	roles: readonly Role[],
	description: string,
): Setting<T> {
	return Object.freeze({ schema, byDefault, roles, description });
}

const WARM_DEFAULT = `${WARM_LIMITS.bytesMax / 1024 ** 2}m`;
const DAY_MS = 24 * 60 * 60_000;
const BYTES_DEFAULT = `${BUDGET_LIMITS.bytesPerMinuteMax / 1024 ** 2}m`;
const BOTH = ['gateway', 'launcher'] as const;

function integer(minimum: number, maximum: number, byDefault: number): z.ZodType<number, string | undefined> {
	return z
		.string()
		.default(String(byDefault))
		.refine(
			(text) => /^\d+$/.test(text) && Number(text) >= minimum && Number(text) <= maximum,
			`a whole number from ${minimum} to ${maximum}`,
		)
		.transform(Number);
}

function list(
	isItem: RegExp | ((item: string) => boolean),
	expected: string,
): z.ZodType<readonly string[], string | undefined> {
	return z
		.string()
		.default('')
		.transform((text) =>
			text
				.split(',')
				.map((item) => item.trim())
				.filter((item) => item !== ''),
		)
		.refine((items) => items.every((item) => (isItem instanceof RegExp ? isItem.test(item) : isItem(item))), expected)
		.transform((items) => items.map((item) => item.toLowerCase()));
}

const text = z.string().optional();

export const SETTINGS = Object.freeze({
	SLIPWAY_PORT: setting(integer(1, 65_535, 8080), '`8080`', ['gateway'], 'The port of the gateway.'),
	SLIPWAY_ADDRESS: setting(
		z.string().default('127.0.0.1'),
		'`127.0.0.1`',
		['gateway'],
		'The address of this machine that the port is open on. `0.0.0.0` opens it to the network: give it a certificate then, or put TLS in front of it.',
	),
	SLIPWAY_PUBLIC_URL: setting(
		z.url({ protocol: /^https?$/, error: 'an http or https URL' }).optional(),
		'`http://localhost:<port>`, or `https:` with a certificate',
		['gateway'],
		'The URL that clients use, where a proxy stands in front of the gateway. Its host is allowed.',
	),
	SLIPWAY_URL: setting(
		z.url({ protocol: /^https?$/, error: 'an http or https URL' }).optional(),
		'the gateway of the same compose project, or `http://localhost:<port>`',
		['command line'],
		'Where the command line finds the gateway. Where `SLIPWAY_PUBLIC_URL` is set, the host of that is the one that it asks for there.',
	),
	SLIPWAY_CA_FILE: setting(
		text,
		'the certificate of `SLIPWAY_TLS_CERT_FILE`',
		['command line'],
		'A file with certificates in PEM that the command line knows the gateway by, beside those that are known to everybody.',
	),
	SLIPWAY_API_KEY: setting(
		z
			.string()
			.min(16, 'at least 16 characters; `openssl rand -hex 32` makes a good one')
			.regex(/^[\x21-\x7e]+$/, 'visible ASCII characters without spaces')
			.optional(),
		'one is made at the first start',
		['gateway'],
		'The key that clients send as `Authorization: Bearer <key>`. With 32 characters or more it is never kept out by the failures of others.',
	),
	SLIPWAY_API_KEY_FILE: setting(
		text,
		'none',
		['gateway'],
		'A file that holds the key. User 10001 must be able to read it.',
	),
	SLIPWAY_AUTH: setting(
		z.enum(['key', 'none'], '`key` or `none`').default('key'),
		'`key`',
		['gateway'],
		'`none` lets everybody in who reaches the port; it is said in the log at every start.',
	),
	SLIPWAY_OAUTH_ISSUER: setting(
		z.url({ protocol: /^https?$/, error: 'an http or https URL' }).optional(),
		'none',
		['gateway'],
		'The authorization server whose access tokens are taken beside keys, exactly as its tokens have it in `iss`.',
	),
	SLIPWAY_OAUTH_AUDIENCE: setting(
		z
			.string()
			.optional()
			.transform((text) => text?.split(',').map((item) => item.trim())),
		'the public URL',
		['gateway'],
		'What tokens for the gateway as a whole have in `aud`, separated by commas. A token for the URL of one endpoint is always good for that.',
	),
	SLIPWAY_OAUTH_SCOPES_CLAIM: setting(
		text,
		'none',
		['gateway'],
		'A claim, such as `groups` or `realm_access.roles`, whose values `SLIPWAY_OAUTH_SCOPES_MAP` has scopes for. Without it tokens carry scopes themselves.',
	),
	SLIPWAY_OAUTH_SCOPES_MAP: setting(
		text,
		'none',
		['gateway'],
		'What values of that claim allow, as JSON: `{"developers": ["group:coding"]}`.',
	),
	SLIPWAY_OAUTH_TOKEN_TYPE: setting(
		z.enum(['at+jwt', 'JWT'], '`at+jwt` or `JWT`').default('at+jwt'),
		'`at+jwt`',
		['gateway'],
		'What the header of access tokens has as its `typ`. `JWT` is for issuers that write that, or nothing.',
	),
	SLIPWAY_ALLOWED_HOSTS: setting(
		list(/^[a-z0-9_.[\]:-]+$/i, 'names like `mcp.example.com` or `gateway:8080`, separated by commas'),
		'none',
		['gateway'],
		'Further names, separated by commas, that requests may have as their Host, each with the port where it is another than `SLIPWAY_PORT`. `localhost` and the loopback addresses on that port always may.',
	),
	SLIPWAY_ALLOWED_ORIGINS: setting(
		list(/^https?:\/\/[^/\s]+$/i, 'origins like `https://app.example.com`, separated by commas'),
		'none',
		['gateway'],
		'Further origins, separated by commas, whose web pages may call the gateway and read its answers.',
	),
	SLIPWAY_TRUSTED_PROXIES: setting(
		list(isNetwork, 'addresses or networks like `10.0.0.1` or `172.16.0.0/12`, separated by commas'),
		'none',
		['gateway'],
		'Addresses or networks, separated by commas, of proxies in front of the gateway. Of requests that come from there, `X-Forwarded-For` says whose failed authentications are counted, and `X-Forwarded-Proto` whether the client came by TLS.',
	),
	SLIPWAY_TLS_CERT_FILE: setting(
		text,
		'none',
		['gateway'],
		'A file with a certificate, and what it was signed by, in PEM: then the port speaks TLS. It is read again when it changes. User 10001 must be able to read it.',
	),
	SLIPWAY_TLS_KEY_FILE: setting(text, 'none', ['gateway'], 'A file with the private key of that certificate.'),
	SLIPWAY_TLS_CLIENT_CA_FILE: setting(
		text,
		'none',
		['gateway'],
		'A file with the certificates that sign those of clients. Then a client without one gets no further than the handshake; with one, it still needs its key.',
	),
	SLIPWAY_SESSIONS_PER_CALLER: setting(
		integer(1, SESSION_LIMITS.sessionsMax, SESSION_LIMITS.sessionsPerPrincipalMax),
		`\`${SESSION_LIMITS.sessionsPerPrincipalMax}\``,
		['gateway'],
		'How many sessions one caller may have.',
	),
	SLIPWAY_SESSION_IDLE_SECONDS: setting(
		integer(10, SESSION_LIMITS.absoluteMs / 1000, SESSION_LIMITS.idleMs / 1000),
		`\`${SESSION_LIMITS.idleMs / 1000}\``,
		['gateway'],
		'A session without a call or an open stream for so long is ended.',
	),
	SLIPWAY_CALLS_PER_MINUTE: setting(
		integer(0, POLICY_LIMITS.callsPerMinuteSaidMax, POLICY_LIMITS.callsPerMinuteMax),
		`\`${POLICY_LIMITS.callsPerMinuteMax}\``,
		['gateway'],
		'How many calls one caller may make of one server in a minute, where neither its key nor the catalog says otherwise. `0`: any number.',
	),
	SLIPWAY_CALLS_IN_FLIGHT_PER_CALLER: setting(
		integer(0, BUDGET_LIMITS.callsInFlightSaidMax, BUDGET_LIMITS.callsInFlightMax),
		`\`${BUDGET_LIMITS.callsInFlightMax}\``,
		['gateway'],
		'How many calls of one caller may be in flight, at all servers together, where its key says nothing else. `0`: any number.',
	),
	SLIPWAY_CONTAINERS_PER_CALLER: setting(
		integer(0, BUDGET_LIMITS.containersSaidMax, BUDGET_LIMITS.containersMax),
		`\`${BUDGET_LIMITS.containersMax}\``,
		['gateway'],
		'How many containers one caller may have, of all servers together, where its key says nothing else; those that everybody has together are nobody’s. `0`: any number.',
	),
	SLIPWAY_BYTES_PER_MINUTE: setting(
		z
			.string()
			.regex(/^(?:0|[1-9]\d{0,5}[mg])$/, '`0`, or an amount like `512m` or `1g`')
			.default(BYTES_DEFAULT)
			.transform(bytesOf),
		`\`${BYTES_DEFAULT}\``,
		['gateway'],
		'How much one caller may send in a minute, where its key says nothing else. `0`: any amount.',
	),
	SLIPWAY_INSTANCES_MAX: setting(
		integer(1, 1000, INSTANCE_LIMITS.instancesMax),
		`\`${INSTANCE_LIMITS.instancesMax}\``,
		['launcher'],
		'How many containers may run at once. At the bound, a session without a call or an open stream for a minute makes room for a new one of the same caller.',
	),
	SLIPWAY_INSTANCES_PER_SERVER: setting(
		z
			.string()
			.regex(/^(?:[1-9]\d{0,2}|1000)$/, 'a whole number from 1 to 1000')
			.transform(Number)
			.optional(),
		'`SLIPWAY_INSTANCES_MAX`',
		['launcher'],
		'How many containers of one server may run at once, whoever asks.',
	),
	SLIPWAY_STARTS_PER_MINUTE: setting(
		integer(1, 100_000, INSTANCE_LIMITS.startsPerMinuteMax),
		`\`${INSTANCE_LIMITS.startsPerMinuteMax}\``,
		['launcher'],
		'How many containers the launcher starts in a minute, whoever asks.',
	),
	SLIPWAY_WARM: setting(
		z
			.string()
			.regex(/^(?:0|[1-9]\d{0,5}[mg])$/, '`0`, or an amount of memory like `512m` or `1g`')
			.default(WARM_DEFAULT)
			.transform(bytesOf),
		`\`${WARM_DEFAULT}\``,
		['gateway'],
		'How much memory, by their limits, containers may have that are started ahead of their first caller. With `0` none is started before somebody asks.',
	),
	SLIPWAY_CATALOG: setting(
		z.string().default('catalog'),
		'`./catalog`',
		['launcher'],
		'The catalog: a folder with a `catalog.json`, or the file itself. A folder is better: changes are seen however an editor writes them.',
	),
	SLIPWAY_MOUNT_ROOTS: setting(
		z
			.string()
			.default('./data')
			.transform((value) => value.split(':').filter((item) => item !== ''))
			.refine(
				(items) => items.every((item) => /^\.?\//.test(item)),
				'folders that begin with `/` or `./`, separated by colons',
			),
		'`./data`',
		['launcher'],
		'Folders of the host, separated by colons, below which the catalog may give servers folders. No link below one leads out of it.',
	),
	SLIPWAY_SECRETS_DIR: setting(
		z
			.string()
			.default('./secrets')
			.transform((value) => value.split(':').filter((item) => item !== ''))
			.refine(
				(items) => items.every((item) => /^\.?\//.test(item)),
				'folders that begin with `/` or `./`, separated by colons',
			),
		'`./secrets`',
		['launcher'],
		'Folders, separated by colons, with a file for each secret of servers, which is looked at again as it changes; the first that has one counts. docs/secrets.md.',
	),
	SLIPWAY_SECRETS_STORE: setting(
		z.string().default('.slipway/secrets'),
		'the volume `secrets`',
		['launcher'],
		'The folder of the encrypted store, where `slipway secrets set` puts them.',
	),
	SLIPWAY_SECRETS_KEY_FILE: setting(
		text,
		'none',
		['launcher'],
		'A file with the key of the encrypted store, 64 hexadecimal digits (`openssl rand -hex 32`). The launcher and the command line must be able to read it.',
	),
	SLIPWAY_HOST_DIR: setting(
		z.string().startsWith('/', 'an absolute path on the host').optional(),
		'the folder of compose.yaml',
		['launcher'],
		'The folder of the host that relative paths in the catalog start from.',
	),
	SLIPWAY_NODE_IMAGE: setting(
		z.string().default('node:26-trixie-slim'),
		'`node:26-trixie-slim`',
		['launcher'],
		'The image that npm packages are put on.',
	),
	SLIPWAY_PYTHON_IMAGE: setting(
		z.string().default('python:3.13-slim-trixie'),
		'`python:3.13-slim-trixie`',
		['launcher'],
		'The image that Python packages are put on.',
	),
	SLIPWAY_PYPI_INDEX: setting(
		z
			.url({ protocol: /^https?$/, error: 'an http or https URL' })
			.refine(
				(url) => new URL(url).username === '',
				'a URL without a name and a password: SLIPWAY_PYPI_NETRC_FILE has them',
			)
			.optional(),
		'PyPI',
		['launcher'],
		'The index that Python packages come from, as pip has it: `https://pypi.example.org/simple`. The containers that packages are resolved in must reach it.',
	),
	SLIPWAY_PYPI_NETRC_FILE: setting(
		text,
		'none',
		['launcher'],
		'A netrc file with the credentials for the index. It goes to the container that packages are fetched in, and into no image. The launcher must be able to read it.',
	),
	SLIPWAY_PYPI_WHEELS: setting(
		text,
		'none',
		['launcher'],
		'A folder of wheels that Python packages come from, and from nowhere else: no network is used then.',
	),
	SLIPWAY_NPM_REGISTRY: setting(
		z.url({ protocol: /^https?$/, error: 'an http or https URL' }).optional(),
		'`https://registry.npmjs.org`',
		['launcher'],
		'The registry that npm packages come from, as the containers that prepare them reach it.',
	),
	SLIPWAY_NPMRC_SECRET: setting(
		z
			.string()
			.regex(SECRET_NAME_PATTERN, 'the name of a secret: lower-case letters, digits and `_`, a letter first')
			.optional(),
		'none',
		['launcher'],
		'The name of a secret (docs/secrets.md) whose value is an `.npmrc`: registries of scopes, and credentials for them. It is in no image.',
	),
	SLIPWAY_NPM_OFFLINE_DIR: setting(
		text,
		'none',
		['launcher'],
		'A folder of archives that `npm pack` made (`.tgz`), which takes the place of any registry: npm packages are prepared without a network then.',
	),
	SLIPWAY_DOCKER_SOCKET: setting(
		z.string().startsWith('/', 'an absolute path').default('/var/run/docker.sock'),
		'`/var/run/docker.sock`',
		['launcher'],
		'The socket of the Docker Engine.',
	),
	SLIPWAY_GATEWAY_ID: setting(
		z
			.string()
			.regex(/^[a-z0-9][a-z0-9_-]{0,40}$/, 'lower-case letters, digits, `_` and `-`')
			.optional(),
		'the compose project',
		['launcher'],
		'What tells this deployment from others on the same engine. Containers with its label and no owner are removed.',
	),
	SLIPWAY_DATA: setting(
		z.string().default('.slipway'),
		'the volume `data`',
		['gateway'],
		'Where the gateway keeps what outlives it: a volume or a folder that user 10001 can write.',
	),
	SLIPWAY_AUDIT: setting(
		z.enum(['best-effort', 'required', 'off'], '`best-effort`, `required` or `off`').default('best-effort'),
		'`best-effort`',
		['gateway'],
		'What happens when the audit cannot be written: calls go on (`best-effort`), or are refused until it can be (`required`). `off`: nothing is recorded.',
	),
	SLIPWAY_AUDIT_DIR: setting(
		text,
		'`audit` in `SLIPWAY_DATA`',
		['gateway'],
		'The folder of the audit, which user 10001 can write. Under compose a path in the container.',
	),
	SLIPWAY_AUDIT_DAYS: setting(
		integer(1, 36_500, 90),
		'`90`',
		['gateway'],
		'Files of the audit that were last written so many days ago are removed.',
	),
	SLIPWAY_AUDIT_SIZE: setting(
		z
			.string()
			.regex(/^[1-9]\d{0,5}[mg]$/, 'an amount like `256m` or `1g`')
			.default('1g')
			.transform(bytesOf),
		'`1g`',
		['gateway'],
		'How much the audit keeps: beyond that its oldest files are removed.',
	),
	SLIPWAY_LOG_LEVEL: setting(
		z.enum(LOG_LEVELS, `one of ${LOG_LEVELS.map((level) => `\`${level}\``).join(', ')}`).default('info'),
		'`info`',
		BOTH,
		'How much is logged.',
	),
});

/** What settings for one secret begin with: SLIPWAY_SECRET_<NAME> and SLIPWAY_SECRET_<NAME>_FILE. */
const SECRET_PREFIX = 'SLIPWAY_SECRET_';
const FILE_SUFFIX = '_FILE';

/** Where secrets of servers come from. */
export interface SecretsConfig {
	/** What the environment says of one by its name: the value, or the file that has it. */
	readonly environment: ReadonlyMap<string, { readonly value: string } | { readonly file: string }>;
	/** Folders with a file for each, in the order in which they count. */
	readonly folders: readonly string[];
	/** The encrypted store. */
	readonly storeDir: string;
	readonly keyFile: string | undefined;
}

/** Where Python packages come from, and what they are put on. */
export interface PythonConfig {
	readonly image: string;
	/** Undefined: the one that pip has by default. */
	readonly indexUrl: string | undefined;
	/** A file with credentials for the index. */
	readonly netrcFile: string | undefined;
	/** Where there is one, packages come from it and from nowhere else. */
	readonly wheelsDir: string | undefined;
}

export interface Config {
	readonly port: number;
	readonly address: string;
	readonly publicUrl: string;
	/** The gateway as the command line finds it. */
	readonly gateway: {
		readonly url: string;
		/** What is asked for there. */
		readonly host: string;
		readonly caFile: string | undefined;
	};
	readonly apiKey: string | undefined;
	readonly apiKeyFile: string | undefined;
	readonly auth: 'key' | 'none';
	/** Where tokens are taken beside keys. */
	readonly oauth:
		| {
				readonly issuer: string;
				/** Undefined: the public URL. */
				readonly audience: readonly string[] | undefined;
				readonly scopesClaim: string | undefined;
				/** As JSON. */
				readonly scopesMap: string | undefined;
				readonly tokenType: 'at+jwt' | 'JWT';
		  }
		| undefined;
	readonly allowedHosts: readonly string[];
	readonly allowedOrigins: readonly string[];
	/** Those of them whose pages may read what we answer. */
	readonly corsOrigins: readonly string[];
	readonly trustedProxies: readonly string[];
	/** Where the port speaks TLS: paths. */
	readonly tls:
		| { readonly certFile: string; readonly keyFile: string; readonly clientCaFile: string | undefined }
		| undefined;
	readonly sessionsPerPrincipalMax: number;
	readonly sessionIdleMs: number;
	/** 0: any number. */
	readonly callsPerMinute: number;
	/** Of one caller; 0: any number. */
	readonly callsInFlightMax: number;
	readonly containersPerPrincipalMax: number;
	readonly bytesPerMinute: number;
	readonly instancesMax: number;
	readonly instancesPerServerMax: number;
	readonly startsPerMinuteMax: number;
	/** What Instances that wait for their first caller may take together; 0: none wait. */
	readonly warmBytesMax: number;
	readonly catalogPath: string;
	readonly mountRoots: readonly string[];
	readonly secrets: SecretsConfig;
	readonly hostDir: string | undefined;
	readonly nodeImage: string;
	readonly python: PythonConfig;
	readonly npm: {
		readonly registry: string | undefined;
		/** The name of the secret that is an .npmrc. */
		readonly npmrcSecret: string | undefined;
		readonly offlineDir: string | undefined;
	};
	readonly dockerSocket: string;
	readonly gatewayId: string | undefined;
	readonly dataDir: string;
	readonly audit: {
		readonly mode: 'best-effort' | 'required' | 'off';
		readonly folder: string;
		readonly retention: { readonly bytesMax: number; readonly ageMsMax: number };
	};
	readonly logLevel: LogLevel;
}

type Values = { [Name in keyof typeof SETTINGS]: (typeof SETTINGS)[Name] extends Setting<infer T> ? T : never };

/**
 * The settings of an environment. An empty variable counts as one that is not set, since compose passes those on.
 *
 * @throws SlipwayError SLIPWAY_CONFIG_INVALID that names every wrong setting and what it should be
 */
export function readConfig(environment: Readonly<Record<string, string | undefined>>): Config {
	const problems: string[] = [];
	for (const name of Object.keys(environment)) {
		if (name.startsWith('SLIPWAY_') && !name.startsWith(SECRET_PREFIX) && !Object.hasOwn(SETTINGS, name))
			problems.push(`${name} is no setting of Slipway.`);
	}
	const values: Record<string, unknown> = {};
	for (const [name, { schema }] of Object.entries(SETTINGS)) {
		const parsed = schema.safeParse(environment[name] === '' ? undefined : environment[name]);
		if (parsed.success) values[name] = parsed.data;
		// The value itself is not repeated: it may be a secret.
		else problems.push(`${name} must be ${parsed.error.issues.map(({ message }) => message).join(', and ')}.`);
	}
	const secrets = readSecrets(environment, problems);
	if (problems.length > 0) throw new SlipwayError('SLIPWAY_CONFIG_INVALID', { reason: problems.join(' ') });
	return toConfig(values as Values, secrets);
}

/** What the environment says of single secrets. Problems name the setting and never its value. */
function readSecrets(
	environment: Readonly<Record<string, string | undefined>>,
	problems: string[],
): SecretsConfig['environment'] {
	const secrets = new Map<string, { readonly value: string } | { readonly file: string }>();
	for (const [setting, said = ''] of Object.entries(environment)) {
		if (!setting.startsWith(SECRET_PREFIX) || said === '') continue;
		const isFile = setting.endsWith(FILE_SUFFIX);
		const upper = setting.slice(SECRET_PREFIX.length, isFile ? -FILE_SUFFIX.length : undefined);
		const name = upper.toLowerCase();
		if (upper !== name.toUpperCase() || upper === name || !SECRET_NAME_PATTERN.test(name))
			problems.push(`${setting} names no secret: capital letters, digits and "_", a letter first.`);
		else if (secrets.has(name))
			problems.push(`${SECRET_PREFIX}${upper} and ${SECRET_PREFIX}${upper}_FILE are both set: set one.`);
		else secrets.set(name, isFile ? { file: said } : { value: said });
	}
	return secrets;
}

/** Half of TLS is none, and to serve without it what was meant to be with it would be worse than not to start. */
function tlsOf(values: Values): Config['tls'] {
	const { SLIPWAY_TLS_CERT_FILE: certFile, SLIPWAY_TLS_KEY_FILE: keyFile } = values;
	const clientCaFile = values.SLIPWAY_TLS_CLIENT_CA_FILE;
	if (certFile !== undefined && keyFile !== undefined) return Object.freeze({ certFile, keyFile, clientCaFile });
	if (certFile === undefined && keyFile === undefined && clientCaFile === undefined) return undefined;
	throw new SlipwayError('SLIPWAY_CONFIG_INVALID', {
		reason: 'SLIPWAY_TLS_CERT_FILE and SLIPWAY_TLS_KEY_FILE go together, and SLIPWAY_TLS_CLIENT_CA_FILE with both.',
	});
}

function toConfig(values: Values, secrets: SecretsConfig['environment']): Config {
	const tls = tlsOf(values);
	const scheme = tls === undefined ? 'http' : 'https';
	const publicUrl = (values.SLIPWAY_PUBLIC_URL ?? `${scheme}://localhost:${values.SLIPWAY_PORT}`).replace(/\/+$/, '');
	const loopback = ['localhost', '127.0.0.1', '[::1]'];
	const { host, origin } = new URL(publicUrl);
	const gatewayUrl = (values.SLIPWAY_URL ?? `${scheme}://localhost:${values.SLIPWAY_PORT}`).replace(/\/+$/, '');
	return Object.freeze({
		port: values.SLIPWAY_PORT,
		address: values.SLIPWAY_ADDRESS,
		publicUrl,
		gateway: Object.freeze({
			url: gatewayUrl,
			host: new URL(values.SLIPWAY_PUBLIC_URL ?? gatewayUrl).host,
			caFile: values.SLIPWAY_CA_FILE ?? values.SLIPWAY_TLS_CERT_FILE,
		}),
		apiKey: values.SLIPWAY_API_KEY,
		apiKeyFile: values.SLIPWAY_API_KEY_FILE,
		auth: values.SLIPWAY_AUTH,
		oauth:
			values.SLIPWAY_OAUTH_ISSUER === undefined
				? undefined
				: Object.freeze({
						issuer: values.SLIPWAY_OAUTH_ISSUER,
						audience: values.SLIPWAY_OAUTH_AUDIENCE,
						scopesClaim: values.SLIPWAY_OAUTH_SCOPES_CLAIM,
						scopesMap: values.SLIPWAY_OAUTH_SCOPES_MAP,
						tokenType: values.SLIPWAY_OAUTH_TOKEN_TYPE,
					}),
		allowedHosts: Object.freeze([...loopback, host, ...values.SLIPWAY_ALLOWED_HOSTS]),
		allowedOrigins: Object.freeze([
			// As a browser writes them: without the port where it is HTTP's own.
			...loopback.map((name) => new URL(`${scheme}://${name}:${values.SLIPWAY_PORT}`).origin),
			origin,
			...values.SLIPWAY_ALLOWED_ORIGINS,
		]),
		corsOrigins: Object.freeze([...values.SLIPWAY_ALLOWED_ORIGINS]),
		tls,
		trustedProxies: Object.freeze(values.SLIPWAY_TRUSTED_PROXIES),
		sessionsPerPrincipalMax: values.SLIPWAY_SESSIONS_PER_CALLER,
		sessionIdleMs: values.SLIPWAY_SESSION_IDLE_SECONDS * 1000,
		callsPerMinute: values.SLIPWAY_CALLS_PER_MINUTE,
		callsInFlightMax: values.SLIPWAY_CALLS_IN_FLIGHT_PER_CALLER,
		containersPerPrincipalMax: values.SLIPWAY_CONTAINERS_PER_CALLER,
		bytesPerMinute: values.SLIPWAY_BYTES_PER_MINUTE,
		instancesMax: values.SLIPWAY_INSTANCES_MAX,
		instancesPerServerMax: values.SLIPWAY_INSTANCES_PER_SERVER ?? values.SLIPWAY_INSTANCES_MAX,
		startsPerMinuteMax: values.SLIPWAY_STARTS_PER_MINUTE,
		warmBytesMax: values.SLIPWAY_WARM,
		catalogPath: values.SLIPWAY_CATALOG,
		mountRoots: Object.freeze(values.SLIPWAY_MOUNT_ROOTS),
		secrets: Object.freeze({
			environment: secrets,
			folders: Object.freeze(values.SLIPWAY_SECRETS_DIR),
			storeDir: values.SLIPWAY_SECRETS_STORE,
			keyFile: values.SLIPWAY_SECRETS_KEY_FILE,
		}),
		hostDir: values.SLIPWAY_HOST_DIR,
		nodeImage: values.SLIPWAY_NODE_IMAGE,
		python: Object.freeze({
			image: values.SLIPWAY_PYTHON_IMAGE,
			indexUrl: values.SLIPWAY_PYPI_INDEX,
			netrcFile: values.SLIPWAY_PYPI_NETRC_FILE,
			wheelsDir: values.SLIPWAY_PYPI_WHEELS,
		}),
		npm: Object.freeze({
			registry: values.SLIPWAY_NPM_REGISTRY,
			npmrcSecret: values.SLIPWAY_NPMRC_SECRET,
			offlineDir: values.SLIPWAY_NPM_OFFLINE_DIR,
		}),
		dockerSocket: values.SLIPWAY_DOCKER_SOCKET,
		gatewayId: values.SLIPWAY_GATEWAY_ID,
		dataDir: values.SLIPWAY_DATA,
		audit: Object.freeze({
			mode: values.SLIPWAY_AUDIT,
			folder: values.SLIPWAY_AUDIT_DIR ?? join(values.SLIPWAY_DATA, 'audit'),
			retention: Object.freeze({ bytesMax: values.SLIPWAY_AUDIT_SIZE, ageMsMax: values.SLIPWAY_AUDIT_DAYS * DAY_MS }),
		}),
		logLevel: values.SLIPWAY_LOG_LEVEL,
	});
}
