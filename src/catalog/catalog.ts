/** The catalog as the rest of Slipway sees it: every default filled in, every unit in its name, frozen. */
import type { ServerName } from '../ids.ts';
import { EMPTY_LOCK, type Lock } from './lock.ts';
import type { PypiPackage } from './pypi.ts';

/** How a package becomes an image, where that is not as its registry has it. */
export interface PackageOptions {
	/** Which of its programs runs; absent: the one that its package manager would run. */
	readonly bin?: string;
	/** Whether code of it and of its dependencies may run while they are installed. */
	readonly installScripts?: true;
	/** Debian packages that it needs beside it. */
	readonly systemPackages?: readonly string[];
}

/** A package of a registry. The version is exact in every catalog; the program itself may want a range or a tag. */
export interface NpmSource extends PackageOptions {
	readonly kind: 'npm';
	readonly name: string;
	readonly version: string;
}

/** A package beside the catalog: a folder, or an archive that `npm pack` made. */
export interface NpmLocalSource extends PackageOptions {
	readonly kind: 'npm-local';
	/** From the catalog's folder, with a leading `./`. */
	readonly path: string;
}

/** What a Server runs. */
export type Source =
	| NpmSource
	| NpmLocalSource
	| PypiSource
	| PypiLocalSource
	| { readonly kind: 'image'; readonly reference: string };

export interface PypiOptions extends PackageOptions {
	/** Further packages that are installed with it. */
	readonly with?: readonly PypiPackage[];
}

/** A Python package of an index. The version is exact in every catalog; the program itself may want a range. */
export interface PypiSource extends PypiOptions, PypiPackage {
	readonly kind: 'pypi';
}

/** A Python package beside the catalog: a folder, a wheel or a script. */
export interface PypiLocalSource extends PypiOptions {
	readonly kind: 'pypi-local';
	/** From the catalog's folder, with a leading `./`. */
	readonly path: string;
}

/** A Docker volume that outlives the Instance. */
export interface Volume {
	readonly name: string;
	/** An absolute path in the container. */
	readonly target: string;
}

/** A folder or file of the host. */
export interface Mount {
	/** As in the file: absolute, or relative with a leading `./`. mounts.ts makes a host path of it. */
	readonly source: string;
	/** An absolute path in the container. */
	readonly target: string;
	readonly readOnly: boolean;
}

/** A secret that a server is given. Its value is nowhere in the catalog. */
export interface Secret {
	/** The environment variable that gets the value, or the path of the file. */
	readonly variable: string;
	/** SECRET_NAME_PATTERN. */
	readonly name: string;
	/** An absolute path in the container, for a server that reads files. */
	readonly file?: string;
}

export interface Resources {
	readonly memoryBytes: number;
	/** Billionths of a CPU. */
	readonly nanoCpus: number;
	readonly pidsMax: number;
	/** The size of /tmp. */
	readonly tmpBytes: number;
	/** The size of /dev/shm; 0 when there is none. */
	readonly shmBytes: number;
}

/** Who has an Instance together: nobody, all sessions of one caller, or everybody. */
export type Isolation = 'session' | 'principal' | 'shared';

/** How many Instances a shared Server has. */
export interface Replicas {
	/** As many stay once it was used. */
	readonly min: number;
	readonly max: number;
}

/** What holds for the tools of a Server. Names are patterns in which `*` stands for any characters. */
export interface ToolRules {
	/** Which there are for anybody; `deny` has the last word. */
	readonly allow?: readonly string[];
	readonly deny?: readonly string[];
	/** How often one caller may call those of a pattern in a minute, all of them together. */
	readonly callsPerMinute?: Readonly<Record<string, number>>;
	/** What their arguments must fit: a JSON Schema, as JSON. */
	readonly arguments?: Readonly<Record<string, string>>;
	/** Whether arguments are held against the schemas that the server lists; absent: they are. */
	readonly validate?: boolean;
}

/** An entry of the catalog: what to run and what it may do. */
export interface Server {
	readonly name: ServerName;
	readonly title?: string;
	readonly description?: string;
	readonly enabled: boolean;
	readonly source: Source;
	/** Docker's Cmd. Empty: the image's own, and always with an npm source. */
	readonly command: readonly string[];
	/** What follows the command, or the arguments of the package's bin. */
	readonly args: readonly string[];
	readonly env: Readonly<Record<string, string>>;
	readonly secrets: readonly Secret[];
	readonly volumes: readonly Volume[];
	readonly mounts: readonly Mount[];
	/** What it may reach, as in the file: `host:port` or `*.host:port`. Empty: it has no network. */
	readonly egress: readonly string[];
	readonly resources: Resources;
	readonly user: { readonly uid: number; readonly gid: number };
	readonly callTimeoutMs: number;
	/** A container that nobody calls for so long is stopped. */
	readonly idleStopMs: number;
	/** Whether clients may be told what it has without starting it. */
	readonly snapshot: boolean;
	/** How often one caller may call it in a minute; absent: as the settings say. */
	readonly callsPerMinute?: number;
	/** How many of its calls may be in flight, of all callers together. */
	readonly callsInFlight?: number;
	/** How many of its containers callers may have, all together. */
	readonly containers?: number;
	/** What holds for its tools, whoever calls them. */
	readonly tools?: ToolRules;
	/** Tools, as such patterns, whose arguments the audit records as they are. */
	readonly audit?: { readonly values: readonly string[] };
	/** When a definition of a tool counts as approved: when it is first seen, when a person says so, or always. */
	readonly pin: Pinning;
	/** How many containers wait for their first caller; absent: as it is used. */
	readonly warm?: number;
	readonly isolation: Isolation;
	/** There with `shared`, and only there. */
	readonly replicas?: Replicas;
}

export type Pinning = 'first-use' | 'approve' | 'off';

export interface Catalog {
	/** In the order of the file, but names of digits alone come first, as JSON.parse has it. */
	readonly servers: ReadonlyMap<ServerName, Server>;
	/** Servers that are met as one, by the group's name. The order of members is the file's: the earlier takes precedence. */
	readonly groups: ReadonlyMap<string, readonly ServerName[]>;
	/**
	 * Values of secrets, by name, of a file in a form that has them in it; in a catalog of Slipway's there are none. They are
	 * for src/secrets alone: nothing else reads them, and no Server has them.
	 */
	readonly secretValues: ReadonlyMap<string, string>;
	/** What its packages were resolved to. */
	readonly lock: Lock;
}

/** What a catalog has beside what its file says of servers. */
export interface CatalogParts {
	readonly lock?: Lock;
	readonly secretValues?: Iterable<readonly [name: string, value: string]>;
}

/**
 * A deeply frozen Catalog of the servers and groups given, which are frozen in place. The last of two of one name counts.
 * Members of groups are taken as they are: it is the schema that holds them against the servers.
 */
export function createCatalog(
	servers: Iterable<Server>,
	groups: Iterable<readonly [name: string, members: readonly ServerName[]]> = [],
	{ lock = EMPTY_LOCK, secretValues = [] }: CatalogParts = {},
): Catalog {
	const serversByName = new Map<ServerName, Server>();
	for (const server of servers) serversByName.set(server.name, freezeDeep(server));
	const groupsByName = new Map<string, readonly ServerName[]>();
	for (const [name, members] of groups) groupsByName.set(name, freezeDeep(members));
	return Object.freeze({
		servers: freezeMap(serversByName),
		groups: freezeMap(groupsByName),
		secretValues: freezeMap(new Map(secretValues)),
		lock: freezeLock(lock),
	});
}

function freezeDeep<Value>(value: Value): Value {
	if (typeof value === 'object' && value !== null) {
		for (const member of Object.values(value)) freezeDeep(member);
		Object.freeze(value);
	}
	return value;
}

function freezeLock({ bases, sources }: Lock): Lock {
	return Object.freeze({ bases: freezeMap(new Map(bases)), sources: freezeMap(new Map(sources)) });
}

/** Object.freeze leaves a Map's entries open, so its three ways to change are closed by hand. */
function freezeMap<Key, Value>(map: Map<Key, Value>): ReadonlyMap<Key, Value> {
	const refuse = { value: (): never => raiseFrozen() };
	return Object.freeze(Object.defineProperties(map, { set: refuse, delete: refuse, clear: refuse }));
}

function raiseFrozen(): never {
	throw new TypeError('the catalog is frozen');
}
