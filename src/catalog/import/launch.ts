/** What starts a server, as an entry of the catalog: its program, and all that has to be judged about it. */
import { CATALOG_LIMITS, IMPORT_LIMITS, SECRET_LIMITS } from '../../limits.ts';
import { explainEgress } from '../egress.ts';
import { formatPath } from '../explain.ts';
import { serverSchema } from '../schema.ts';
import { explainVariable } from '../secrets.ts';
import type { EntryFile, Imported } from './contract.ts';
import { elsewhere, HostPaths, isHostPath, isWindowsPath } from './host-paths.ts';
import { nameOfPackage, secretNameOf, toServerName, uniqueName } from './names.ts';
import type { Program } from './program.ts';
import { readProgram } from './programs.ts';
import { type Environment, expand } from './references.ts';
import { inField, Refusal } from './refusal.ts';
import { isPlaceholder, isPlainValue, isSecretName, isSecretValue } from './secret-like.ts';
import { tell } from './tell.ts';
import { BRIDGES, knownNeeds } from './well-known.ts';
import { unwrap } from './wrappers.ts';

/** One server of another format, as far as the format says. */
export interface Launch {
	/** As the other format has it. */
	readonly name?: string;
	readonly words: readonly string[];
	readonly env: Readonly<Record<string, string>>;
	readonly cwd?: string;
	/** What the format says in words of the catalog already. */
	readonly more?: Partial<EntryFile>;
	/** What it says that has no counterpart, in sentences. */
	readonly notes?: readonly string[];
	/** The program, where the format names it otherwise than by a command line. */
	readonly program?: Program;
}

export interface LaunchContext {
	/** Names of servers that there are. */
	readonly taken: ReadonlySet<string>;
	/** Secrets that were named so far, with their values; what is named here is added. */
	readonly secrets: Map<string, string | undefined>;
	/** What `${VAR}` is read from. */
	readonly environment: Environment;
	/** Whether nobody reads the notes: then what only a note could make good is refused. */
	readonly served: boolean;
}

/** The entry of a server, or why there is none. Never throws. */
export function importLaunch(launch: Launch, context: LaunchContext): Imported {
	try {
		return new LaunchReader(launch, context).read();
	} catch (error) {
		if (!(error instanceof Refusal)) throw error;
		const [word = 'server'] = launch.words;
		return refused(launch.name ?? word, error);
	}
}

export function refused(name: string, { reason, nextStep, field }: Refusal): Imported {
	return {
		kind: 'refused',
		name: name.slice(0, IMPORT_LIMITS.nameCharsMax),
		reason,
		nextStep,
		...(field === undefined ? {} : { field }),
	};
}

/** INVARIANT: no value that looked like a secret is in `#env`, whatever else is read. */
class LaunchReader {
	readonly #launch: Launch;
	readonly #context: LaunchContext;
	readonly #notes: string[];
	readonly #env: Record<string, string> = {};
	readonly #secretNames: Record<string, string> = {};
	readonly #secrets: { readonly name: string; readonly value: string }[] = [];
	/** What may say which hosts it reaches. */
	readonly #told: string[] = [];

	constructor(launch: Launch, context: LaunchContext) {
		this.#launch = launch;
		this.#context = context;
		this.#notes = [...(launch.notes ?? [])];
	}

	read(): Imported {
		const { launch, program, env } = this.#readProgram();
		refuseRemote(program);
		const name = uniqueName(
			launch.name === undefined ? nameOfPackage(program.name) : nameOf(launch.name),
			this.#context.taken,
		);
		this.#notes.push(...program.notes);
		const mounts = program.kind === 'image' ? inField('args', () => this.#imageMounts(program.mounts)) : [];
		const paths = new HostPaths(launch.cwd, mounts);
		const words = program.kind === 'image' ? program.command : program.args;
		const placed = inField('args', () => this.#readWords(words, program.kind === 'image' ? undefined : paths));
		for (const [variable, value] of env)
			inField('env', () =>
				this.#readVariable(name, { variable, value, paths: program.kind === 'image' ? undefined : paths }),
			);
		const entry = this.#toEntry({ program, words: placed, paths });
		checkEntry(entry);
		for (const { name: secret, value } of this.#secrets) this.#context.secrets.set(secret, value);
		return { kind: 'server', name, entry, secrets: this.#secrets, notes: this.#notes };
	}

	#readProgram(): {
		readonly launch: Launch;
		readonly program: Program;
		readonly env: readonly (readonly [string, string | undefined])[];
	} {
		const launch = this.#launch;
		if (launch.program !== undefined)
			return { launch, program: launch.program, env: [...ofImage(launch.program), ...Object.entries(launch.env)] };
		if (
			launch.words.length > IMPORT_LIMITS.wordsMax ||
			launch.words.some((word) => word.length > IMPORT_LIMITS.wordCharsMax)
		)
			throw new Refusal('its command line is too long', 'Write the arguments into a file, and mount that.');
		const { words, env } = unwrap(launch.words);
		const program = readProgram(words);
		const all = new Map([...ofImage(program), ...Object.entries(env)]);
		// `-e NAME` hands on what the configuration sets, and that comes last.
		for (const [variable, value] of Object.entries(launch.env)) all.set(variable, value);
		return { launch, program, env: [...all] };
	}

	/** Arguments, with places of the host as they are called in the container. */
	#readWords(words: readonly string[], paths: HostPaths | undefined): string[] {
		const placed: string[] = [];
		for (const [index, word] of words.entries()) {
			const before = words[index - 1] ?? '';
			const { text, missing, folders } = expand(word, this.#context.environment);
			if (paths !== undefined && folders.length > 0) throw elsewhere(word, "names a folder of somebody's machine");
			if (missing.length > 0)
				throw new Refusal(
					`its argument ${tell(word)} wants ${missing.map(tell).join(', ')}, and arguments are given as they stand`,
					'Write the value into the argument; or, if it is a secret, let the server read it from a variable and write that into "env" instead.',
				);
			this.#noteSecretWord(text, before);
			this.#told.push(text);
			placed.push(paths === undefined ? text : placeWord(text, before, paths));
		}
		return placed;
	}

	#noteSecretWord(word: string, before: string): void {
		const equals = word.indexOf('=');
		const option = word.startsWith('-') && equals !== -1 ? word.slice(0, equals) : before.startsWith('-') ? before : '';
		const value = word.startsWith('-') && equals !== -1 ? word.slice(equals + 1) : word;
		const named = isSecretName(option) && !value.startsWith('-') && !isPlainValue(value);
		if (!(named || isSecretValue(value)) || isPlaceholder(value)) return;
		const where = option === '' ? 'One of its arguments' : `The value of ${tell(option)}`;
		if (this.#context.served)
			throw new Refusal(
				`${where.charAt(0).toLowerCase()}${where.slice(1)} looks like a secret, and arguments are shown by \`docker inspect\``,
				'Let the server read it from a variable, and write that into "env".',
			);
		this.#notes.push(
			`${where} looks like a secret, and stays an argument, which the catalog and \`docker inspect\` show. If the server reads it from a variable too, name that in "secrets" instead.`,
		);
	}

	#readVariable(
		server: string,
		{ variable, value, paths }: { variable: string; value: string | undefined; paths: HostPaths | undefined },
	): void {
		if (!/^[A-Za-z_][A-Za-z0-9_]{0,127}$/.test(variable)) {
			this.#notes.push(`${tell(variable)} is not the name of a variable, and is left out.`);
			return;
		}
		if (OF_THE_MACHINE.test(variable)) {
			this.#notes.push(`The variable ${tell(variable)} is left out: it is about the machine and not about the server.`);
			return;
		}
		const { text, missing, folders } = expand(value ?? `\${${variable}}`, this.#context.environment);
		if (folders.length > 0) throw elsewhere(variable, "names a folder of somebody's machine");
		if (missing.length > 0) return this.#keepSecret(server, { variable, from: missing });
		const secret = isSecretValue(text) || (isSecretName(variable) && !isPlainValue(text) && !isHostPath(text));
		if (secret) return this.#keepSecret(server, { variable, value: text });
		if (isWindowsPath(text) && paths !== undefined) throw elsewhere(text, 'is a path of Windows');
		this.#told.push(text);
		this.#env[variable] = paths !== undefined && isHostPath(text, variable) ? paths.place(text) : text;
	}

	#keepSecret(
		server: string,
		{ variable, value, from }: { variable: string; value?: string; from?: readonly string[] },
	): void {
		const flaw = explainVariable(variable);
		if (flaw !== undefined)
			throw new Refusal(`its variable cannot be a secret: ${flaw}`, 'Change the name, if the server lets you.');
		const name = this.#freeSecretName(server, variable, value);
		this.#secretNames[variable] = name;
		if (value !== undefined) this.#told.push(value);
		if (value === undefined || isPlaceholder(value)) {
			const why =
				from === undefined ? 'has a placeholder for its value' : `was to be read from ${from.map(tell).join(', ')}`;
			this.#notes.push(
				`The variable ${tell(variable)} ${why}: give the secret "${name}" its value (\`slipway secrets set ${name}\`).`,
			);
			return;
		}
		if (Buffer.byteLength(value) > SECRET_LIMITS.valueBytesMax || value.includes('\0'))
			throw new Refusal(
				`the value of its variable ${tell(variable)} is no secret that could be kept`,
				`Keep it to ${SECRET_LIMITS.valueBytesMax} bytes without NUL.`,
			);
		this.#secrets.push({ name, value });
		this.#notes.push(
			`The value of ${tell(variable)} looks like a secret and is kept as the secret "${name}", out of the catalog.`,
		);
	}

	/** A name that nothing has, or that has the same value. */
	#freeSecretName(server: string, variable: string, value: string | undefined): string {
		const known = this.#context.secrets;
		const name = secretNameOf(server, variable);
		const own = new Set(this.#secrets.map((secret) => secret.name));
		const isFree = (one: string): boolean => !own.has(one) && (!known.has(one) || known.get(one) === value);
		if (isFree(name)) return name;
		for (let number = 2; ; number++) {
			const numbered = secretNameOf(server, `${variable}_${number}`);
			if (isFree(numbered)) return numbered;
		}
	}

	/** Mounts that the command line names by itself. */
	#imageMounts(mounts: readonly { readonly source: string; readonly target: string; readonly readOnly: boolean }[]) {
		const paths = new HostPaths(this.#launch.cwd);
		return mounts.map(({ source, target, readOnly }) => {
			const { text, missing, folders } = expand(source, this.#context.environment);
			if (folders.length > 0 || missing.length > 0) throw elsewhere(source, "names a folder of somebody's machine");
			return {
				source: paths.source(text.startsWith('/') || text.startsWith('.') || isWindowsPath(text) ? text : `./${text}`),
				target,
				readOnly,
			};
		});
	}

	#toEntry({ program, words, paths }: { program: Program; words: readonly string[]; paths: HostPaths }): EntryFile {
		const { mounts } = paths;
		const egress = this.#egressOf(program);
		for (const { source, target, readOnly } of mounts)
			this.#notes.push(
				`${tell(source)} of the host is at ${tell(target)} in the container, ${readOnly ? 'to be read only; "readOnly": false lets the server write' : 'to be read and written'}. It has to lie below one of SLIPWAY_MOUNT_ROOTS.`,
			);
		const filled = <Value>(field: string, value: Value, size: number): Record<string, Value> =>
			size === 0 ? {} : { [field]: value };
		return {
			...sourceOf(program),
			...filled(program.kind === 'image' ? 'command' : 'args', [...words], words.length),
			...filled('env', this.#env, Object.keys(this.#env).length),
			...filled('secrets', this.#secretNames, Object.keys(this.#secretNames).length),
			...(program.kind === 'image' ? filled('volumes', [...program.volumes], program.volumes.length) : {}),
			...filled('mounts', [...mounts], mounts.length),
			...filled('egress', egress, egress.length),
			...(program.kind === 'image'
				? filled('resources', program.resources, Object.keys(program.resources).length)
				: {}),
			...(program.kind === 'image' && program.user !== undefined ? { user: program.user } : {}),
			...this.#launch.more,
		} as EntryFile;
	}

	/** What it is likely to have to reach. */
	#egressOf(program: Program): string[] {
		if (this.#launch.more?.egress !== undefined) return [];
		if (program.kind === 'image' && program.offline) {
			this.#notes.push('It was to run without a network, and does.');
			return [];
		}
		const known = knownNeeds(program.name);
		const found = new Set(known ?? []);
		for (const text of this.#told) {
			for (const url of text.match(URLS) ?? []) this.#addHost(url, found);
		}
		const egress = [...found].slice(0, CATALOG_LIMITS.egressMax);
		if (egress.length > 0) this.#notes.push(`It may reach ${egress.join(', ')} and nothing else ("egress").`);
		else if (known !== undefined) this.#notes.push('It needs no network, and has none.');
		else
			this.#notes.push(
				'It has no network. If it needs one, name what it may reach, as in "egress": ["api.example.com:443"]; what it is refused is in /status and in the log.',
			);
		return egress;
	}

	#addHost(url: string, found: Set<string>): void {
		const parsed = URL.canParse(url) ? new URL(url) : undefined;
		if (parsed === undefined) return;
		const { hostname, protocol } = parsed;
		if (!PORTS.has(protocol)) {
			this.#notes.push(
				`It names ${tell(hostname)} by ${protocol.slice(0, -1)}: servers are let out through an HTTP proxy alone, which programs of other protocols seldom heed.`,
			);
			return;
		}
		const line = `${hostname.toLowerCase()}:${parsed.port || PORTS.get(protocol)}`;
		const flaw = explainEgress(line);
		if (flaw === undefined) found.add(line);
		else this.#notes.push(`It names ${tell(line)}, which no server can reach: ${flaw}.`);
	}
}

/** Some call a server by the address of its sources. */
function nameOf(name: string): string {
	return name.includes('/') ? nameOfPackage(name) : toServerName(name);
}

const URLS = /\b(?:https?|wss?|postgres(?:ql)?|mysql|mariadb|rediss?|mongodb(?:\+srv)?|amqps?|nats):\/\/[^\s"'<>,;]+/g;
/** Of the protocols that go through the proxy, the ports that go without saying. */
const PORTS: ReadonlyMap<string, string> = new Map([
	['http:', '80'],
	['ws:', '80'],
	['https:', '443'],
	['wss:', '443'],
]);

/** As the catalog has it in `bin`. */
const PROGRAM_NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;

/** Variables that say where things are on a machine, or how its package manager behaves. */
const OF_THE_MACHINE =
	/^(?:PATH|HOME|USER|USERNAME|USERPROFILE|SHELL|TMPDIR|TEMP|TMP|APPDATA|LOCALAPPDATA|SystemRoot|SYSTEMROOT|PWD|OLDPWD|NODE_PATH|NVM_.*|VIRTUAL_ENV|PYTHONPATH|PYTHONHOME|npm_config_.*|NPM_CONFIG_.*|UV_.*|PIP_.*|DOCKER_HOST|LD_.*|DYLD_.*)$/;

function ofImage(program: Program): readonly (readonly [string, string | undefined])[] {
	return program.kind === 'image' ? program.env : [];
}

/** An argument with its path, if it is one or has one after its `=`, as it is in the container. */
function placeWord(word: string, before: string, paths: HostPaths): string {
	const equals = word.startsWith('-') ? word.indexOf('=') : -1;
	const head = word.slice(0, equals + 1);
	const value = word.slice(equals + 1);
	const option = equals === -1 ? before : word.slice(0, equals);
	if (isWindowsPath(value)) throw elsewhere(value, 'is a path of Windows');
	return isHostPath(value, option.startsWith('-') ? option : '') ? head + paths.place(value) : word;
}

function sourceOf(program: Program): EntryFile {
	if (program.kind === 'image') return { image: program.reference };
	const { kind, source, bin } = program;
	if (bin !== undefined && !PROGRAM_NAME.test(bin))
		throw new Refusal(
			`${tell(bin)} is not the name of a program that a package brings`,
			'Write one: letters, digits, "_", "." and "-".',
			'args',
		);
	return {
		[kind]: source,
		...(bin === undefined ? {} : { bin }),
		...(program.with === undefined ? {} : { with: [...program.with] }),
	};
}

/** What only leads to another server needs no container. */
function refuseRemote(program: Program): void {
	if (program.kind === 'image' || !BRIDGES.has(program.name.toLowerCase())) return;
	const url = program.args.find((arg) => URL.canParse(arg) && /^https?:/.test(arg));
	if (url !== undefined) throw remote(url);
}

/** A server at a URL. What follows the host may be a secret, also in the path, and is not repeated. */
export function remote(url: string): Refusal {
	const parsed = URL.canParse(url) ? new URL(url) : undefined;
	const where = parsed === undefined ? 'its address' : parsed.host;
	return new Refusal(
		`it is a server elsewhere (${tell(where)}), and needs no container`,
		'Connect the client to it directly.',
	);
}

/** The last look: what the catalog would refuse is refused here, with its words. Sources are looked at before. */
function checkEntry(entry: EntryFile): void {
	const { npm: _, pypi: __, with: ___, bin: ____, image: _____, ...rest } = entry;
	const stand = rest.command === undefined ? { npm: 'a@1.0.0' } : { image: 'a:1' };
	const result = serverSchema.safeParse({ ...rest, ...stand });
	const issue = result.error?.issues[0];
	if (issue !== undefined)
		// What is wrong, a full stop, and what to do: as every message of the schema is made.
		throw new Refusal(
			`the catalog does not take its ${tell(formatPath(issue.path))}: ${issue.message.split('. ')[0]}`,
			`${issue.message.split('. ').slice(1).join('. ') || 'Write another'}.`,
		);
}
