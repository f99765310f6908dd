import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Source } from '../../src/catalog/catalog.ts';
import type { PreparedImage } from '../../src/docker/images.ts';
import { SlipwayError } from '../../src/errors.ts';
import { describeSource, type PreparationContext, Preparations } from '../../src/launcher/preparations.ts';
import { PREPARATION_LIMITS } from '../../src/limits.ts';
import { SILENT_LOG } from '../../src/log.ts';
import { server } from '../support/fixtures.ts';

const NEVER = new AbortController().signal;

function entry(name: string, reference = `${name}:1`) {
	return server(name, { kind: 'image', reference });
}

interface Job {
	readonly what: string;
	readonly context: PreparationContext;
	done(id?: string): Promise<void>;
	fail(error: unknown): Promise<void>;
}

function bench(stateOf: (source: Source) => string = () => '') {
	const jobs: Job[] = [];
	let changes = 0;
	const preparations = new Preparations({
		prepare: (source: Source, context) => {
			const { promise, resolve, reject } = Promise.withResolvers<PreparedImage>();
			context.signal.addEventListener('abort', () => reject(context.signal.reason));
			const what = describeSource(source).replace(/^image /, '');
			jobs.push({
				what,
				context,
				done: async (id = `sha256:${what}`) => {
					resolve({ reference: what, id, volumePaths: [], entrypoint: [], command: [] });
					await nextTurn();
				},
				fail: async (error) => {
					reject(error);
					await nextTurn();
				},
			});
			return promise;
		},
		onChange: () => {
			changes += 1;
		},
		log: SILENT_LOG,
		stateOf,
	});
	return { preparations, jobs, changes: () => changes, names: () => jobs.map(({ what }) => what) };
}

test('one preparation for one source, however many servers and callers want it', async () => {
	const { preparations, jobs } = bench();
	const [one, two] = [entry('one', 'same:1'), entry('two', 'same:1')];
	preparations.require([one, two]);
	const waits = [preparations.wait(one, NEVER), preparations.wait(two, NEVER), preparations.wait(one, NEVER)];
	await nextTurn();
	assert.equal(jobs.length, 1);
	await jobs[0]?.done('sha256:x');
	assert.deepEqual(
		(await Promise.all(waits)).map(({ id }) => id),
		['sha256:x', 'sha256:x', 'sha256:x'],
	);
	assert.equal((await preparations.wait(two, NEVER)).id, 'sha256:x');
	preparations.require([one]);
	await nextTurn();
	assert.equal(jobs.length, 1);
	assert.deepEqual(preparations.view(two), { kind: 'ready', image: 'same:1', imageId: 'sha256:x' });
});

test('no more at a time than may be, and what somebody waits for comes first', async () => {
	const { preparations, jobs, names } = bench();
	const entries = ['a', 'b', 'c', 'd', 'e'].map((name) => entry(name));
	preparations.require(entries);
	await nextTurn();
	assert.deepEqual(names(), ['a:1', 'b:1']);
	assert.equal(PREPARATION_LIMITS.concurrentMax, 2);
	const [, , , d, e] = entries;
	assert.ok(d !== undefined && e !== undefined);
	void preparations.wait(d, NEVER);
	void preparations.wait(e, NEVER);
	void preparations.wait(e, NEVER);
	const late = new AbortController();
	const waited = preparations.wait(d, late.signal).catch(() => undefined);
	const waitedToo = preparations.wait(d, late.signal).catch(() => undefined);
	late.abort(new Error('gone'));
	await Promise.all([waited, waitedToo]);
	// Those who left do not count.
	for (let job = 0; job < 5; job++) await jobs[job]?.done();
	assert.deepEqual(names(), ['a:1', 'b:1', 'e:1', 'd:1', 'c:1']);
});

test('one that a caller brings comes before those in the background, from the first pick on', async () => {
	const { preparations, names } = bench();
	preparations.require([entry('a'), entry('b'), entry('c')]);
	void preparations.wait(entry('asked'), NEVER);
	await nextTurn();
	assert.equal(names()[0], 'asked:1');
});

test('a failure is remembered, told at once, and tried again when it is old or required', async () => {
	mock.timers.enable({ apis: ['Date'], now: 1_000_000 });
	try {
		const { preparations, jobs } = bench();
		const broken = entry('broken');
		const first = preparations.wait(broken, NEVER).catch((error: unknown) => error);
		await nextTurn();
		await jobs[0]?.fail(new SlipwayError('SLIPWAY_IMAGE_MISSING', { reason: 'nowhere' }));
		assert.equal(((await first) as SlipwayError).code, 'SLIPWAY_IMAGE_MISSING');
		const view = preparations.view(broken);
		assert.deepEqual(view.kind === 'failed' ? view.error : undefined, {
			code: 'SLIPWAY_IMAGE_MISSING',
			details: { reason: 'nowhere' },
		});
		mock.timers.tick(PREPARATION_LIMITS.retryAfterMs - 1);
		await assert.rejects(preparations.wait(broken, NEVER), { code: 'SLIPWAY_IMAGE_MISSING' });
		await nextTurn();
		assert.equal(jobs.length, 1);
		mock.timers.tick(1);
		const again = assert.rejects(preparations.wait(broken, NEVER), { code: 'SLIPWAY_INTERNAL' });
		await nextTurn();
		assert.equal(jobs.length, 2);
		await jobs[1]?.fail(new Error('of a dependency, with /paths in it'));
		await again;
		preparations.require([broken]);
		await nextTurn();
		assert.equal(jobs.length, 3);
		await jobs[2]?.done();
		assert.equal(preparations.view(broken).kind, 'ready');
	} finally {
		mock.timers.reset();
	}
});

test('a failure for want of the engine is not remembered: it says nothing of the image', async () => {
	const { preparations, jobs } = bench();
	const wanted = entry('wanted');
	const first = preparations.wait(wanted, NEVER).catch((error: unknown) => error);
	await nextTurn();
	await jobs[0]?.fail(new SlipwayError('SLIPWAY_ENGINE_UNREACHABLE'));
	await first;
	const second = preparations.wait(wanted, NEVER);
	await nextTurn();
	await jobs[1]?.done();
	assert.equal((await second).id, 'sha256:wanted:1');
});

test('who aborts stops waiting; the preparation goes on for the others', async () => {
	const { preparations, jobs } = bench();
	const wanted = entry('wanted');
	const aborter = new AbortController();
	const reason = new Error('gone');
	const left = preparations.wait(wanted, aborter.signal);
	const stays = preparations.wait(wanted, NEVER);
	await nextTurn();
	aborter.abort(reason);
	await assert.rejects(left, (error) => error === reason);
	await assert.rejects(preparations.wait(wanted, aborter.signal), (error) => error === reason);
	assert.equal(jobs[0]?.context.signal.aborted, false);
	await jobs[0]?.done();
	assert.equal((await stays).reference, 'wanted:1');
});

test('an image that is gone is forgotten once, and not the one that takes its place', async () => {
	const { preparations, jobs } = bench();
	const wanted = entry('wanted');
	const waits = [preparations.wait(wanted, NEVER), preparations.wait(wanted, NEVER)];
	await nextTurn();
	await jobs[0]?.done('sha256:old');
	const [old] = await Promise.all(waits);
	assert.ok(old !== undefined);
	// Two callers find out, one a little later than the other.
	preparations.forget(wanted, old);
	const first = preparations.wait(wanted, NEVER);
	await nextTurn();
	preparations.forget(wanted, old);
	const second = preparations.wait(wanted, NEVER);
	await nextTurn();
	assert.equal(jobs.length, 2);
	await jobs[1]?.done('sha256:new');
	assert.deepEqual([(await first).id, (await second).id], ['sha256:new', 'sha256:new']);
	preparations.forget(wanted, old);
	assert.equal(preparations.view(wanted).kind, 'ready');
});

test('steps are told as they come', async () => {
	const { preparations, jobs, changes } = bench();
	const wanted = entry('wanted');
	assert.deepEqual(preparations.view(wanted), { kind: 'waiting' });
	preparations.require([wanted]);
	await nextTurn();
	const before = changes();
	jobs[0]?.context.onStep('pulling');
	const view = preparations.view(wanted);
	assert.equal(view.kind === 'preparing' ? view.step : '', 'pulling');
	assert.equal(changes(), before + 1);
	await jobs[0]?.done();
	assert.ok(changes() > before + 1);
});

test('stopping breaks off what is under way, refuses what waits, begins nothing, and waits for the rest', async () => {
	const { preparations, jobs } = bench();
	const waits = ['a', 'b', 'c'].map((name) =>
		preparations.wait(entry(name), NEVER).catch((error: SlipwayError) => error.code),
	);
	await nextTurn();
	assert.equal(jobs.length, 2);
	await preparations.stop();
	assert.deepEqual(await Promise.all(waits), ['SLIPWAY_DRAINING', 'SLIPWAY_DRAINING', 'SLIPWAY_DRAINING']);
	assert.equal(jobs.length, 2);
	assert.ok(jobs.every(({ context }) => context.signal.aborted));
});

test('with another lock it is prepared again: what is ready stays so meanwhile, and who waits gets the new one', async () => {
	let lock = 'one';
	const { preparations, jobs } = bench(() => lock);
	const one = entry('one');
	preparations.require([one]);
	await nextTurn();
	await jobs[0]?.done('sha256:old');
	preparations.require([one]);
	await nextTurn();
	assert.equal(jobs.length, 1);
	lock = 'two';
	preparations.require([one]);
	const wait = preparations.wait(one, NEVER);
	await nextTurn();
	assert.equal(jobs.length, 2);
	jobs[1]?.context.onStep('resolving');
	const view = preparations.view(one);
	assert.equal(view.kind === 'ready' ? view.imageId : view.kind, 'sha256:old');
	assert.equal(preparations.readyImage(one.source), 'sha256:old');
	await jobs[1]?.done('sha256:new');
	assert.equal((await wait).id, 'sha256:new');
	assert.equal(preparations.readyImage(one.source), 'sha256:new');
	// A failure takes its place: what the lock refuses is not served.
	lock = 'three';
	const failing = preparations.wait(one, NEVER);
	await nextTurn();
	await Promise.all([
		assert.rejects(failing, { code: 'SLIPWAY_PACKAGE_CHANGED' }),
		jobs[2]?.fail(new SlipwayError('SLIPWAY_PACKAGE_CHANGED')),
	]);
	assert.equal(preparations.view(one).kind, 'failed');
});
