/** The containers of a running stack, `cli` among them, seen from inside each: who reaches which socket, and as what. */
import assert from 'node:assert/strict';
import { text as readText } from 'node:stream/consumers';
import { after, test } from 'node:test';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import Docker from 'dockerode';
import { GATEWAY_ID, instances, KEY, URL_BASE } from './stack.ts';

const docker = new Docker();
const SEAM = '/run/slipway/launcher.sock';
const DOCKER = '/var/run/docker.sock';
/** What goes on running. */
const ROLES = ['launcher', 'gateway', 'egress'] as const;
/** The command line runs for as long as a person waits for it. */
const ALL = [...ROLES, 'cli'] as const;
type Role = (typeof ALL)[number];

/** Prints what came of connecting to each path. */
const CONNECT = `const net=require('node:net');for(const path of process.argv.slice(1)){const socket=net.connect(path);
const tell=(what)=>{console.log(path+' '+what);socket.destroy()};socket.on('connect',()=>tell('connected'));socket.on('error',(error)=>tell(error.code))}`;

/** Prints what came of each way to put something else in the place of the launcher's socket. */
const REPLACE = `const fs=require('node:fs');const [path]=process.argv.slice(1);const folder=path.replace(/\\/[^/]+$/,'');
for(const [name,act] of Object.entries({unlink:()=>fs.unlinkSync(path),rename:()=>fs.renameSync(path,path+'.old'),link:()=>fs.symlinkSync('/tmp',path+'.link'),
create:()=>fs.writeFileSync(folder+'/own',''),chmod:()=>fs.chmodSync(path,0),open:()=>fs.chmodSync(folder,0o777)}))
try{act();console.log(name+' done')}catch(error){console.log(name+' '+error.code)}`;

async function containerOf(role: Role): Promise<Docker.Container> {
	const label = [`com.docker.compose.project=${GATEWAY_ID}`, `com.docker.compose.service=${role}`];
	const found = await docker.listContainers({ filters: JSON.stringify({ label }) });
	assert.equal(found.length, 1, `${found.length} containers of ${role}`);
	return docker.getContainer(found[0]?.Id ?? '');
}

/** What a Node script says, run in a container as its own user. */
async function run(container: Docker.Container, script: string, ...args: readonly string[]): Promise<string[]> {
	const command = await container.exec({ Cmd: ['node', '-e', script, ...args], AttachStdout: true, Tty: true });
	const said = await readText(await command.start({ Tty: true }));
	return said.trim().split(/\r?\n/).sort();
}

/** The same in a container of its own, of this user, with the volume in which launcher and gateway meet. */
async function runBeside(user: string, script: string, ...args: readonly string[]): Promise<string[]> {
	const { Image, Mounts } = await (await containerOf('gateway')).inspect();
	const Source = Mounts.find(({ Destination }) => Destination === '/run/slipway')?.Name ?? '';
	const container = await docker.createContainer({
		Image,
		Entrypoint: ['sleep', '60'],
		Healthcheck: { Test: ['NONE'] },
		User: user,
		HostConfig: { NetworkMode: 'none', Init: true, Mounts: [{ Type: 'volume', Source, Target: '/run/slipway' }] },
	});
	try {
		await container.start();
		return await run(container, script, ...args);
	} finally {
		await container.remove({ force: true });
	}
}

const client = new Client({ name: 'stack-test', version: '1' });
after(() => client.close());

/** An Instance of a shipped server. */
async function startInstance(): Promise<Docker.Container> {
	const requestInit = { headers: { authorization: `Bearer ${KEY}` } };
	const transport = new StreamableHTTPClientTransport(new URL(`${URL_BASE}/servers/everything/mcp`), { requestInit });
	await client.connect(transport as Parameters<Client['connect']>[0]);
	await client.callTool({ name: 'echo', arguments: { message: 'hello' } });
	const [found] = await instances('everything');
	assert.ok(found !== undefined);
	return docker.getContainer(found.Id);
}

test('every role is read-only, without new privileges and bounded, and has no capability; the command line has four', async () => {
	const users = { launcher: '0:0', gateway: '10001:10001', egress: '10002:10002', cli: '0:0' };
	for (const role of ALL) {
		const { Config, HostConfig: host } = await (await containerOf(role)).inspect();
		assert.equal(Config.User, users[role], role);
		assert.equal(host.ReadonlyRootfs, true, role);
		assert.equal(host.Privileged, false, role);
		assert.deepEqual(host.CapDrop, ['ALL'], role);
		// To write the catalog of whoever runs it, and to go on as the gateway's user.
		const added = role === 'cli' ? ['CHOWN', 'DAC_OVERRIDE', 'SETGID', 'SETUID'] : [];
		assert.deepEqual((host.CapAdd ?? []).map((name: string) => name.replace(/^CAP_/, '')).sort(), added, role);
		assert.deepEqual(host.SecurityOpt, ['no-new-privileges:true'], role);
		assert.deepEqual([host.PidMode ?? '', host.UsernsMode ?? '', host.UTSMode ?? ''], ['', '', ''], role);
		assert.ok((host.PidsLimit ?? 0) > 0 && (host.Memory ?? 0) > 0, role);
		const said = await run(
			await containerOf(role),
			"console.log(require('node:fs').readFileSync('/proc/self/status','utf8'))",
		);
		const capabilities = role === 'cli' ? '0+c3' : '0+';
		const sets = ['CapPrm', 'CapEff', 'CapBnd'].map((name) => new RegExp(`^${name}:\\s+${capabilities}$`));
		for (const line of [...sets, /^NoNewPrivs:\s+1$/, /^Seccomp:\s+2$/])
			assert.ok(
				said.some((text) => line.test(text)),
				`${role}: ${line}`,
			);
	}
});

test('of what goes on running the launcher alone has the Docker socket, and it has no network', async () => {
	const holders: string[] = [];
	for (const role of ROLES) {
		const { Mounts, HostConfig: host } = await (await containerOf(role)).inspect();
		if (Mounts.some(({ Source, Destination }) => /docker\.sock|containerd/.test(`${Source} ${Destination}`)))
			holders.push(role);
		assert.equal(host.NetworkMode === 'none', role === 'launcher', role);
	}
	assert.deepEqual(holders, ['launcher']);
	const launcher = await containerOf('launcher');
	const interfaces = "console.log(Object.keys(require('node:os').networkInterfaces()).join())";
	assert.deepEqual(await run(launcher, interfaces), ['lo']);
	// So that a refusal elsewhere says something.
	assert.deepEqual(await run(launcher, CONNECT, DOCKER), [`${DOCKER} connected`]);
});

test('the launcher’s socket is reachable by the gateway alone', async () => {
	const instance = await startInstance();
	assert.deepEqual(await run(await containerOf('gateway'), CONNECT, SEAM, DOCKER), [
		`${SEAM} connected`,
		`${DOCKER} ENOENT`,
	]);
	for (const [what, container] of [
		['egress', await containerOf('egress')],
		['an Instance', instance],
	] as const)
		assert.deepEqual(await run(container, CONNECT, SEAM, DOCKER), [`${SEAM} ENOENT`, `${DOCKER} ENOENT`], what);
	assert.deepEqual(await run(await containerOf('cli'), CONNECT, SEAM), [`${SEAM} ENOENT`]);
	for (const role of ALL) {
		const { Mounts } = await (await containerOf(role)).inspect();
		const seam = Mounts.filter(({ Name }) => Name?.endsWith('_seam')).map(
			({ Destination, RW }) => `${Destination} ${RW}`,
		);
		const expected = { launcher: ['/run/slipway true'], gateway: ['/run/slipway false'], egress: [], cli: [] };
		assert.deepEqual(seam, expected[role], role);
	}
});

test('its folder is in memory, and of those who have it only the gateway’s group gets in, and puts nothing in its place', async () => {
	const look = `const {mode,uid,gid}=require('node:fs').statSync('/run/slipway');console.log([(mode&0o7777).toString(8),uid,gid].join(' '));
console.log(require('node:fs').readFileSync('/proc/self/mounts','utf8').split('\\n').find((line)=>line.includes(' /run/slipway ')).split(' ')[2])`;
	assert.deepEqual(await run(await containerOf('launcher'), look), ['750 0 10001', 'tmpfs']);
	// Users and groups of other roles and of servers, were they given the volume. Root is nobody special without capabilities.
	for (const user of ['10002:10002', '65532:65532', '10001:10002', '65532:0'])
		assert.deepEqual(await runBeside(user, CONNECT, SEAM), [`${SEAM} EACCES`], user);
	assert.deepEqual(await runBeside('10001:10001', CONNECT, SEAM), [`${SEAM} connected`]);
	const refused = (code: string): string[] =>
		['chmod', 'create', 'link', 'open', 'rename', 'unlink'].map((act) => `${act} ${code}`);
	assert.deepEqual(await run(await containerOf('gateway'), REPLACE, SEAM), refused('EROFS'));
	// Nor where the mount could be written to: the folder is root's.
	const beside = await runBeside('10001:10001', REPLACE, SEAM);
	assert.deepEqual(
		beside.filter((line) => !/ (?:EACCES|EPERM)$/.test(line)),
		[],
	);
	assert.equal(beside.length, 6);
});

test('verbs that need neither the engine nor the catalog leave nothing of root’s in the gateway’s data', async () => {
	const cli = await containerOf('cli');
	const verb =
		"const {status,stderr}=require('node:child_process').spawnSync('node',['/app/src/main.ts','keys','list']);console.log(status+String(stderr))";
	assert.deepEqual(await run(cli, verb), ['0']);
	const owners = `const fs=require('node:fs');const of=(path)=>[path,...(fs.statSync(path).isDirectory()?fs.readdirSync(path).flatMap((name)=>of(path+'/'+name)):[])];
for(const path of of('/var/lib/slipway'))if(fs.statSync(path).uid!==10001)console.log(path)`;
	assert.deepEqual(await run(cli, owners), ['']);
});
