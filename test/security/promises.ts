/**
 * What SECURITY.md promises, line by line: the test that fails when the line is made false, and how it is made false.
 *
 * `npm run security` (scripts/security.ts) does that, each in a copy of the tree. A test keeps SECURITY.md, this table and
 * docs/security-tests.md in step, and sees that each break still finds its place in the source.
 */
export interface SecurityPromise {
	/** The line of SECURITY.md, word for word. */
	readonly line: string;
	/** The file of the test. */
	readonly file: string;
	/** The name of the test. */
	readonly test: string;
	readonly broken: {
		readonly file: string;
		/** What stands there once. */
		readonly text: string;
		/** What makes the line false. */
		readonly by: string;
	};
}

export interface SecuritySection {
	readonly title: string;
	readonly promises: readonly SecurityPromise[];
}

export const SECURITY: readonly SecuritySection[] = [
	{
		title: 'Who gets in',
		promises: [
			{
				line: 'A request without a good key or token is refused on every route but `/health` and `/ready`, and is told nothing.',
				file: 'test/http/doors.test.ts',
				test: 'is needed on every route but /health and /ready, and nothing is told without it',
				broken: {
					file: 'src/http/keys.ts',
					text: "if (known === undefined) throw new SlipwayError('SLIPWAY_UNAUTHENTICATED');\n\t\treturn known;",
					by: 'return known ?? ANYONE;',
				},
			},
			{
				line: 'A key in the query of a URL is no key.',
				file: 'test/http/doors.test.ts',
				test: 'wrong, malformed, or in the query is no key',
				broken: {
					file: 'src/http/keys.ts',
					text: 'const bearer = bearerOf(request);\n\t\tconst known',
					by: "const bearer = bearerOf(request) ?? new URL(request.url ?? '', 'http://x').searchParams.get('key') ?? undefined;\n\t\tconst known",
				},
			},
			{
				line: 'Keys are kept as SHA-256 alone; a key is shown once, when it is made.',
				file: 'test/unit/keys.test.ts',
				test: 'is made once, and its SHA-256 alone is kept',
				broken: {
					file: 'src/http/keys.ts',
					text: "return createHash('sha256').update(key).digest('hex');",
					by: 'return key;',
				},
			},
			{
				line: 'A key that is revoked ends its sessions, streams and calls at once, in the running gateway.',
				file: 'test/http/policy.test.ts',
				test: 'that is revoked ends its sessions, streams and calls at once, and those of nobody else',
				broken: {
					file: 'src/gateway.ts',
					text: "tenants.dismiss(principal, what === 'gone' ? 'end' : 'suspend');",
					by: '',
				},
			},
			{
				line: 'A key whose time is over is worth nothing.',
				file: 'test/unit/keys.test.ts',
				test: 'are worth nothing from their time on, and that is told',
				broken: {
					file: 'src/http/keys.ts',
					text: 'return expiresAtMs !== undefined && nowMs >= expiresAtMs;',
					by: 'return expiresAtMs === 0 && nowMs === 0;',
				},
			},
			{
				line: 'A token of an issuer is taken only with a signature by a key of that issuer, its exact name, a time that is not over, and the name of the gateway or of the server as its audience.',
				file: 'test/http/oauth-tokens.test.ts',
				test: 'what is no token of the issuer for us',
				broken: {
					file: 'src/http/oauth/token-verifier.ts',
					text: 'if (!audience.some((name) => name === resource || this.#audience.has(name)))',
					by: 'if (audience.length > 99)',
				},
			},
			{
				line: 'A token goes no further than the gateway: no server, log or answer has any of it.',
				file: 'test/http/oauth-gateway.test.ts',
				test: 'a token goes no further than the gateway: no server, no log and no answer has any of it',
				broken: {
					file: 'src/http/listener.ts',
					text: "method: request.method ?? '',",
					by: "method: request.headers.authorization ?? '',",
				},
			},
			{
				line: 'A request whose Host is not a configured name is refused before anything of it is read, on every route (DNS rebinding).',
				file: 'test/http/doors.test.ts',
				test: 'is looked at before the key, on every route',
				broken: {
					file: 'src/http/guards.ts',
					text: 'if (host === undefined || hosts.length > 1 || !isAllowedHost(host, doors))',
					by: 'if (host === undefined)',
				},
			},
			{
				line: 'A request of a web page is refused unless its Origin is listed.',
				file: 'test/http/doors.test.ts',
				test: 'Origin: what is there must be listed; none is fine',
				broken: {
					file: 'src/http/guards.ts',
					text: 'if (origin !== undefined && !isAllowedOrigin(origin, doors))',
					by: 'if (origin === undefined && doors.port < 0)',
				},
			},
			{
				line: 'What two readers may read in two ways is refused: two Host headers, absolute targets, two lengths.',
				file: 'test/http/doors.test.ts',
				test: 'twice, none, or an absolute target is refused',
				broken: {
					file: 'src/http/guards.ts',
					text: "if (!request.url?.startsWith('/')) throw new SlipwayError('SLIPWAY_HOST_REFUSED');",
					by: '',
				},
			},
			{
				line: 'A body of more than 4 MiB is refused before it is parsed, whatever it says of its length.',
				file: 'test/http/doors.test.ts',
				test: 'of exactly 4 MiB is taken, and one byte more is not, declared or in chunks',
				broken: { file: 'src/http/body.ts', text: 'if (bytes > HTTP_LIMITS.bodyBytesMax) {', by: 'if (bytes < 0) {' },
			},
			{
				line: 'A body is never decompressed.',
				file: 'test/http/doors.test.ts',
				test: 'is not decompressed: 415',
				broken: {
					file: 'src/http/body.ts',
					text: "if ((headers['content-encoding'] ?? 'identity').toLowerCase() !== 'identity')",
					by: "if (headers['content-encoding'] === '')",
				},
			},
			{
				line: "Without a key `/health`, `/ready` and what OAuth's clients ask are answered, and preflights of listed origins, and nothing else of any router.",
				file: 'test/http/every-route.test.ts',
				test: 'without a key, and with a wrong one, every route but the open ones is 401',
				broken: {
					file: 'src/http/open-paths.ts',
					text: "new Set(['/health', '/ready'])",
					by: "new Set(['/health', '/ready', '/metrics'])",
				},
			},
			{
				line: 'An answer can be read by pages of listed origins alone, by name and never by all.',
				file: 'test/http/cross-origin.test.ts',
				test: 'and by no other page',
				broken: {
					file: 'src/http/cors.ts',
					text: '|| !corsOrigins.includes(origin.toLowerCase())) return undefined;',
					by: '|| corsOrigins.length > 999) return undefined;',
				},
			},
			{
				line: "Guesses are bounded for each address, and nobody's failures keep out a key of 32 characters or more.",
				file: 'test/http/guesses.test.ts',
				test: 'then what may be a guess is not looked at, and a key that no guess finds is let in',
				broken: { file: 'src/http/attempts.ts', text: 'if (waitMs > 0) throw tooMany(waitMs);', by: '' },
			},
			{
				line: "Containers do not reach the gateway's port.",
				file: 'test/http/instances-outside.test.ts',
				test: 'is cut before a byte of it is read',
				broken: {
					file: 'src/http/listener.ts',
					text: 'if (isInstanceAddress(socket.localAddress) || isInstanceAddress(socket.remoteAddress)) socket.destroy();',
					by: '',
				},
			},
			{
				line: 'Where the settings ask for certificates of clients, no HTTP is read of one without.',
				file: 'test/http/tls.test.ts',
				test: 'where clients need a certificate, one without gets not as far as HTTP',
				broken: {
					file: 'src/http/certificates.ts',
					text: 'requestCert: clientCaFile !== undefined,',
					by: 'requestCert: false,',
				},
			},
		],
	},
	{
		title: 'What they may do',
		promises: [
			{
				line: 'A caller uses the servers and groups that its scopes name, and is told nothing of others.',
				file: 'test/http/policy.test.ts',
				test: 'with the scope of one server has that server, at each endpoint, and is told nothing of others',
				broken: {
					file: 'src/policy/access.ts',
					text: 'return this.#hasWhole(server, membersOf) || this.#tools.some((one) => one.server(server));',
					by: 'return server !== membersOf.name;',
				},
			},
			{
				line: 'A caller with the scope of some tools sees and calls these, and nothing else of the server.',
				file: 'test/http/policy.test.ts',
				test: 'with the scope of tools sees and calls these, and nothing else of the server',
				broken: {
					file: 'src/mcp/tool-filter.ts',
					text: "if (typeof name === 'string' && !filter.allows(name))",
					by: "if (name === '')",
				},
			},
			{
				line: 'What may not be called is in no list, from a Snapshot neither.',
				file: 'test/http/policy.test.ts',
				test: 'is told from a Snapshot no more than from the server',
				broken: {
					file: 'src/pool/target.ts',
					text: 'return filter === undefined ? result : filterList(method, result, filter);',
					by: "return filter === undefined && method === '' ? filterList(method, result, filter) : result;",
				},
			},
			{
				line: 'A tool that the catalog denies is denied to everybody, whatever their scopes.',
				file: 'test/http/policy.test.ts',
				test: 'has what the catalog denies no more, from the moment on',
				broken: {
					file: 'src/pool/target.ts',
					text: 'const ofServer = tools === undefined ? undefined : filterOf(tools);',
					by: 'const ofServer = tools === undefined ? filterOf({}) : undefined;',
				},
			},
			{
				line: 'A session belongs to the caller that began it; with its id alone nobody else gets in.',
				file: 'test/http/policy.test.ts',
				test: 'has no part in a session of another, whatever it may use',
				broken: {
					file: 'src/http/sessions.ts',
					text: 'if (session === undefined || session.principal.id !== of.principal.id || session.target.name !== of.target.name)',
					by: 'if (session === undefined || session.target.name !== of.target.name)',
				},
			},
			{
				line: 'The calls of a caller at a server are counted, 100 a minute unless said otherwise, in all its sessions and both eras together, and take nothing of another caller.',
				file: 'test/http/rates.test.ts',
				test: 'has one budget at a server, in all its sessions, in both eras, at each endpoint and in batches',
				broken: {
					file: 'src/http/call-budgets.ts',
					text: 'if (charges.some(([, { allowed }]) => !allowed)) refuse(response, charges);',
					by: '',
				},
			},
			{
				line: 'Only those with the scope `admin` see and change how Slipway is.',
				file: 'test/http/policy.test.ts',
				test: 'is for those with the scope, and for nobody else',
				broken: {
					file: 'src/policy/access.ts',
					text: "this.admin = this.scopes.includes('admin');",
					by: 'this.admin = this.scopes.length > 0;',
				},
			},
			{
				line: 'Arguments that the catalog does not allow do not reach the server, and the refusal has no value of them.',
				file: 'test/http/arguments.test.ts',
				test: 'may not use arguments that the catalog does not allow, and is told no value',
				broken: {
					file: 'src/policy/arguments.ts',
					text: 'if (objection !== undefined) throw forbidden(objection);',
					by: 'void objection;',
				},
			},
			{
				line: 'No caller can use up the calls in flight, containers or bytes of another.',
				file: 'test/http/budgets.test.ts',
				test: 'of a caller are those of all its sessions, servers and eras, and none of another’s',
				broken: {
					file: 'src/http/call-budgets.ts',
					text: 'const mine = this.#places.take(principal.id, max);',
					by: "const mine = this.#places.take('everybody', max);",
				},
			},
		],
	},
	{
		title: 'What a server can reach',
		promises: [
			...(
				[
					['has a root file system that it cannot write', 'ReadonlyRootfs: true,', 'ReadonlyRootfs: false,'],
					['has no capabilities', "CapDrop: ['ALL'],", "CapDrop: ['NET_RAW'],"],
					['can gain no privileges', "SecurityOpt: ['no-new-privileges:true'],", 'SecurityOpt: [],'],
					[
						'runs as a user of its own that is not root',
						`User: \`\${server.user.uid}:\${server.user.gid}\`,`,
						"User: '0:0',",
					],
					[
						'has no network unless the catalog names hosts for it',
						"NetworkMode: context.egress?.network ?? 'none',",
						"NetworkMode: context.egress?.network ?? 'bridge',",
					],
					[
						'has the memory that the catalog gives it, and no swap',
						'MemorySwap: server.resources.memoryBytes,',
						'MemorySwap: -1,',
					],
					['has so many processes and no more', 'PidsLimit: server.resources.pidsMax,', 'PidsLimit: 0,'],
					[
						'writes nothing of what it says to the disk of the host',
						"LogConfig: { Type: 'none', Config: {} },",
						"LogConfig: { Type: 'json-file', Config: {} },",
					],
				] as const
			).map(([what, text, by]) => ({
				line: `A server ${what}.`,
				file: 'test/docker/confinement.test.ts',
				test: 'a live Instance is what the promise says, by the account of the engine',
				broken: { file: 'src/docker/spec.ts', text, by },
			})),
			{
				line: 'A container that is not what was asked for is removed before it starts.',
				file: 'test/unit/drift.test.ts',
				test: 'additions within what was asked for are named: a capability kept, an option, a limit, a mount',
				broken: {
					file: 'src/docker/drift.ts',
					text: 'return isDeepStrictEqual(actual, asked);',
					by: 'return true;',
				},
			},
			{
				line: 'A volume that an image declares is not writable space on the disk of the host.',
				file: 'test/unit/spec.test.ts',
				test: 'volumes of the image are covered by bounded memory, unless the catalog mounts something there',
				broken: {
					file: 'src/docker/spec.ts',
					text: 'if (!mounted.has(path)) covered[path] = options;',
					by: '',
				},
			},
			{
				line: 'A folder of the host is mounted only below a root that the operator names.',
				file: 'test/docker/volumes.test.ts',
				test: 'a mount of the host is read-only unless said, and only below a root',
				broken: {
					file: 'src/catalog/mounts.ts',
					text: 'if (root !== undefined) return',
					by: "if (root === undefined) return { root: '/', subpath: posix.relative('/', path) };\n\telse return",
				},
			},
			{
				line: 'A folder of the host that the catalog does not say is to be written cannot be.',
				file: 'test/docker/volumes.test.ts',
				test: 'a mount that may be written to is written to, where the host lets the user',
				broken: { file: 'src/docker/spec.ts', text: 'ReadOnly: readOnly,', by: 'ReadOnly: false,' },
			},
			{
				line: 'No link in such a folder leads out of its root.',
				file: 'test/docker/links.test.ts',
				test: 'a server that turns its folder into a link to the host gets nobody out of the mount root',
				broken: {
					file: 'src/docker/spec.ts',
					text: "Type: 'volume' as const,\n\t\t\t\tSource: volume,\n\t\t\t\tTarget: target,\n\t\t\t\tReadOnly: readOnly,\n\t\t\t\tVolumeOptions: { ...VOLUME_OPTIONS, ...(subpath === '' ? {} : { Subpath: subpath }) },",
					by: "Type: 'bind' as const, Source: server.mounts[index]?.source ?? volume + subpath, Target: target, ReadOnly: readOnly,",
				},
			},
			{
				line: 'A server with egress reaches the hosts and ports that the catalog names, and nothing else.',
				file: 'test/unit/egress-proxy.test.ts',
				test: 'is refused before anybody hears of it, and told with the line that would allow it',
				broken: {
					file: 'src/egress/rules.ts',
					text: 'return rules.some(',
					by: 'return rules.length >= 0 || rules.some(',
				},
			},
			{
				line: 'A name that leads to an address that is not public (private, loopback, link-local, CGNAT, metadata and the like) is refused.',
				file: 'test/unit/egress-proxy.test.ts',
				test: 'is refused, and nothing is connected to',
				broken: { file: 'src/egress/addresses.ts', text: 'if (purpose !== undefined)', by: "if (purpose === '')" },
			},
			{
				line: 'The address that was looked at is the one that is connected to: a name that changes meanwhile changes nothing.',
				file: 'test/unit/egress-proxy.test.ts',
				test: 'a name that changes between two looks is looked at once: what was checked is what is connected to',
				broken: {
					file: 'src/egress/proxy.ts',
					text: 'const made = await this.#connectOne(found.addresses, target.port, gone.signal);',
					by: 'const again = await findAddresses(target.host, this.#resolve, gone.signal);\nconst made = await this.#connectOne(again.addresses ?? [], target.port, gone.signal);',
				},
			},
			{
				line: 'A server that tries to get out of its sandbox gets what its entry of the catalog names, and nothing else.',
				file: 'test/docker/sandbox.test.ts',
				test: 'whatever the catalog gives a server, the probe gets that and nothing else',
				broken: { file: 'src/docker/spec.ts', text: "CapDrop: ['ALL'],", by: 'CapDrop: [],' },
			},
		],
	},
	{
		title: 'What a gateway that was taken over can do',
		promises: [
			{
				line: 'It can start servers of the catalog by their names; no word of it shapes a container.',
				file: 'test/docker/seam.test.ts',
				test: 'a compromised gateway: no method, path, header or body shapes a container',
				broken: {
					file: 'src/launcher/server.ts',
					text: "const name = ROUTES.launch.exec(request.url ?? '')?.[1];",
					by: "const name = (request.url ?? '').split(/[/?]/)[3];",
				},
			},
			{
				line: 'There are no more containers, in all and of one server, than the launcher was told, whatever it is asked and for whomever.',
				file: 'test/docker/compromised-gateway.test.ts',
				test: 'however many launches, for whomever, there are no more Instances than may be, and all go with their connections',
				broken: {
					file: 'src/launcher/quotas.ts',
					text: 'if (this.#taken >= instancesMax)',
					by: 'if (this.#taken < 0)',
				},
			},
			{
				line: "What it may hold open at the launcher's socket is bounded, and a gateway that comes anew is served.",
				file: 'test/docker/compromised-gateway.test.ts',
				test: 'a flood of connections holds no more than there are places, and an honest gateway has one of them',
				broken: {
					file: 'src/launcher/latest.ts',
					text: 'if (this.#streams.size <= this.#max || oldest === undefined) return;',
					by: 'if (oldest !== undefined) return;',
				},
			},
		],
	},
	{
		title: 'What a server says of itself',
		promises: [
			{
				line: 'A tool whose definition is not the one that was approved is in no list, from a Snapshot neither.',
				file: 'test/http/pins.test.ts',
				test: 'is told from a Snapshot no more than was approved',
				broken: { file: 'src/mcp/tool-filter.ts', text: ' && filter.pins?.shows(value) !== false', by: '' },
			},
			{
				line: 'A tool whose definition changed is not called until somebody approves it, by whoever holds the old list.',
				file: 'test/http/pins.test.ts',
				test: 'is refused by what its own Instance said, while another build is on its way',
				broken: { file: 'src/mcp/tool-pins.ts', text: "if (verdict === 'refused') throw pins.refusal(tool);", by: '' },
			},
			{
				line: 'After an upgrade no tool is called before its definition was compared.',
				file: 'test/http/pins.test.ts',
				test: 'it is compared first',
				broken: { file: 'src/mcp/tool-pins.ts', text: "return verdict === 'unknown';", by: 'return false;' },
			},
			{
				line: 'A definition with control, zero-width or bidirectional characters is shown to nobody, and cannot be approved.',
				file: 'test/http/pins.test.ts',
				test: 'is shown no definition with what nobody sees, and nobody can approve one',
				broken: {
					file: 'src/mcp/definition.ts',
					text: 'const [character] = INVISIBLE.exec(value) ??',
					by: 'const [character] = /(?!)/.exec(value) ??',
				},
			},
			{
				line: 'Nothing that a server says changes what was approved.',
				file: 'test/unit/store.test.ts',
				test: 'keep what was approved whatever is shown later, for the next process too',
				broken: {
					file: 'src/store/sqlite.ts',
					text: 'approved_hash = coalesce(approved_hash, excluded.approved_hash)',
					by: 'approved_hash = excluded.approved_hash',
				},
			},
		],
	},
	{
		title: 'Secrets',
		promises: [
			{
				line: "Neither `docker inspect` nor the engine's own files have the value of a secret.",
				file: 'test/e2e/secrets.test.ts',
				test: 'nothing that the engine shows or keeps has a secret in it, while servers with secrets run',
				broken: {
					file: 'src/docker/spec.ts',
					text: "\t\t\t'TMPDIR=/tmp',\n",
					by: "\t\t\t'TMPDIR=/tmp',\n...(context.secrets?.delivered ?? []).map(({ variable, value }) => [variable, value].join('=')),\n",
				},
			},
			{
				line: 'Known secrets of 8 bytes and more are taken out of stderr that is shown.',
				file: 'test/unit/stderr-ring.test.ts',
				test: 'of a server with secrets the end is shown, and a value that the beginning of that cuts is not',
				broken: {
					file: 'src/docker/stderr-ring.ts',
					text: "this.#redaction.apply(bytes, this.#full).toString('utf8')",
					by: "bytes.toString('utf8')",
				},
			},
			{
				line: 'A server whose secret is missing does not start, and it is said which.',
				file: 'test/unit/secrets.test.ts',
				test: 'a start names all that is missing, or what is wrong with what is there',
				broken: { file: 'src/secrets/secrets.ts', text: 'if (missing.length > 0)', by: 'if (missing.length > 99)' },
			},
			{
				line: 'A secret in the encrypted store is that of its name, and a changed byte is seen.',
				file: 'test/unit/secrets.test.ts',
				test: 'a file of one name in the place of another’s is not taken for it',
				broken: {
					file: 'src/secrets/sealed.ts',
					text: 'return Buffer.concat([HEAD, Buffer.from(name)]);',
					by: 'return HEAD;',
				},
			},
		],
	},
	{
		title: 'The audit',
		promises: [
			{
				line: 'A record of the audit that was changed, taken out, put in or moved is found, with its file and line.',
				file: 'test/property/audit-chain.test.ts',
				test: 'is not whole when any one byte is another, and the place that is told is that line, or the one after at the end',
				broken: {
					file: 'src/audit/verify.ts',
					text: 'if (record.prev === head.hash) {',
					by: "if (record.prev !== '') {",
				},
			},
			{
				line: 'Each call leaves one record, however it ends.',
				file: 'test/http/audit.test.ts',
				test: 'has one record of each call, under the name of the server, with the shape of its arguments',
				broken: {
					file: 'src/http/audited-calls.ts',
					text: "else audit.record('call', fields);",
					by: 'else void fields;',
				},
			},
			{
				line: 'No value of an argument is recorded unless the catalog says so for the tool, and no result, key or token ever.',
				file: 'test/http/audit.test.ts',
				test: 'arguments are recorded where the catalog says so for the tool, and nothing else of a call ever is',
				broken: {
					file: 'src/http/audited-calls.ts',
					text: '!this.#options.recordsValues(this.#server, tool)',
					by: "this.#server === ''",
				},
			},
			{
				line: 'Where the audit is required, no call is made that cannot be recorded.',
				file: 'test/http/audit.test.ts',
				test: 'and must be, calls and changes of keys are refused, nothing else is, and all goes on when it can be again',
				broken: {
					file: 'src/audit/audit.ts',
					text: 'if (this.#required && this.#writer.failing)',
					by: 'if (this.#required && this.#writer.failing === undefined)',
				},
			},
		],
	},
];
