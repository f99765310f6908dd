/**
 * Runs in a container beside an engine: makes it tell of many things that happen to one container, and then of the
 * deaths of others. Usage: node event-burst.ts SOCKET EVENTS CONTAINER DYING...
 */
import Docker from 'dockerode';

const [socketPath = '', events = '', living = '', ...dying] = process.argv.slice(2);
const AT_A_TIME = 10;

const docker = new Docker({ socketPath });
for (let made = 0; made < Number(events); made += AT_A_TIME) {
	// Nothing is ever run of these: that they are made is an event, and the cheapest that there is.
	const creations = Array.from({ length: AT_A_TIME }, () => docker.getContainer(living).exec({ Cmd: ['true'] }));
	await Promise.all(creations);
}
for (const id of dying) await docker.getContainer(id).kill();
