/**
 * The writer of the gateway's chain. A record is taken at once and written later: all that came in one turn of the event
 * loop, and all that came while the last write was under way, are one write.
 *
 * INVARIANTS:
 * - Records are in the chain in the order in which they were taken. What the bound does not let in is counted there.
 * - A line is in one file whole, or is its unfinished end after the process was killed. Nothing is written after such an end.
 * - One write is under way at most; after `close` none is, and no timer.
 */
import { type FileHandle, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AUDIT_LIMITS } from '../limits.ts';
import { chained, genesis, type Head } from './chain.ts';
import { findEnd, findRetired, makeFolder, nameOf, type Retention } from './files.ts';
import { lockFolder } from './lock.ts';
import { recordText } from './record.ts';

export interface AuditWriterOptions {
	readonly folder: string;
	readonly retention: Retention;
	/** AUDIT_LIMITS unless said. */
	readonly fileBytesMax?: number;
	/** The disk does not take what is written, and why; told once, until it does again. */
	readonly onFailure: (cause: unknown) => void;
	/** It takes it again. */
	readonly onRecovery: () => void;
	/** A file is full, or the writer stops: the hash that the chain ends with, to be kept elsewhere. */
	readonly onHead: (head: Head, file: string) => void;
	/** So many records were written, or lost. */
	readonly onCount: (outcome: 'written' | 'lost', count: number) => void;
}

interface OpenFile {
	readonly name: string;
	readonly handle: FileHandle;
	readonly openedAtMs: number;
	bytes: number;
}

const CHAIN = 'gateway';

export class AuditWriter {
	readonly #options: AuditWriterOptions;
	/** Records that have no place in the chain yet. */
	#pending: string[] = [];
	#pendingChars = 0;
	#lost = 0;
	/** Lines that have one, or what is left of them to write. */
	#outgoing: Buffer = Buffer.alloc(0);
	#outgoingRecords = 0;
	#head: Head = genesis(CHAIN);
	#file: OpenFile | undefined;
	#unlock: (() => void) | undefined;
	#nextIndex = 0;
	/** Files that go as soon as the chain says so. */
	#retiring: readonly string[] = [];
	#pumping: Promise<void> | undefined;
	#timer: NodeJS.Timeout | undefined;
	#syncedAtMs = 0;
	#unsynced = false;
	#failing = false;
	#closed = false;

	constructor(options: AuditWriterOptions) {
		this.#options = options;
	}

	/** Whether the last write failed: what is taken may be lost. */
	get failing(): boolean {
		return this.#failing;
	}

	/** Takes the text of a record; see recordText. Never waits, and never throws. */
	record(text: string): void {
		if (this.#closed) return;
		if (this.#pendingChars + text.length > AUDIT_LIMITS.pendingBytesMax) {
			this.#lost += 1;
			return this.#options.onCount('lost', 1);
		}
		this.#pending.push(text);
		this.#pendingChars += text.length;
		// While it fails, the timer is the next to try.
		if (this.#pumping === undefined && !this.#failing) this.#pump();
	}

	/** Writes what is there, if the disk takes it. Resolves when it has, or does not. */
	async flush(): Promise<void> {
		do {
			if (this.#pumping === undefined) this.#pump();
			await this.#pumping;
		} while (this.#hasWork && !this.#failing);
	}

	/** Writes what is there, and lets go of the folder. What the disk does not take is lost. */
	async close(): Promise<void> {
		await this.flush();
		this.#closed = true;
		clearTimeout(this.#timer);
		await this.#leaveFile().catch(() => undefined);
		this.#unlock?.();
		this.#unlock = undefined;
		if (this.#hasWork) this.#options.onCount('lost', this.#pending.length + this.#outgoingRecords);
	}

	get #hasWork(): boolean {
		return this.#pending.length > 0 || this.#outgoing.length > 0 || this.#lost > 0;
	}

	#pump(): void {
		clearTimeout(this.#timer);
		this.#pumping = this.#writeAll()
			.then(
				() => this.#recover(),
				(cause: unknown) => this.#fail(cause),
			)
			.finally(() => {
				this.#pumping = undefined;
				if (this.#failing) this.#later(AUDIT_LIMITS.retryIntervalMs);
				else if (this.#hasWork && !this.#closed) this.#pump();
				else if (this.#unsynced) this.#later(AUDIT_LIMITS.syncIntervalMs);
			});
	}

	#later(ms: number): void {
		if (!this.#closed) this.#timer = setTimeout(() => this.#pump(), ms).unref();
	}

	async #writeAll(): Promise<void> {
		// What else comes in this turn of the event loop goes along.
		await new Promise((resolve) => setImmediate(resolve));
		this.#file ??= await (this.#unlock === undefined ? this.#begin() : this.#nextFile());
		while (this.#hasWork) {
			if (this.#outgoing.length === 0) {
				if (this.#isFull(this.#file)) {
					await this.#leaveFile();
					this.#file = await this.#nextFile();
				}
				this.#compose();
			}
			const { bytesWritten } = await this.#file.handle.write(this.#outgoing);
			// A full disk may take the beginning of a line: the rest follows when there is room.
			this.#file.bytes += bytesWritten;
			this.#outgoing = this.#outgoing.subarray(bytesWritten);
			this.#unsynced = true;
			if (this.#outgoing.length === 0) {
				this.#options.onCount('written', this.#outgoingRecords);
				this.#outgoingRecords = 0;
				await this.#retire(this.#file);
			}
		}
		if (this.#unsynced && performance.now() - this.#syncedAtMs >= AUDIT_LIMITS.syncIntervalMs)
			await this.#sync(this.#file);
	}

	/** The first file of this process, when nobody else writes the chain, and what is to be said of how it was left. */
	async #begin(): Promise<OpenFile> {
		const { folder } = this.#options;
		makeFolder(folder);
		const unlock = lockFolder(folder);
		try {
			const { head, lastIndex, lastEvent, torn } = findEnd(folder, CHAIN);
			this.#nextIndex = lastIndex + 1;
			const file = await this.#nextFile();
			this.#head = head;
			if (torn.length > 0 || (lastEvent !== undefined && lastEvent !== 'stop'))
				this.#first(recordText('recovered', torn.length === 0 ? {} : { torn }, Date.now()));
			this.#unlock = unlock;
			return file;
		} catch (error) {
			unlock();
			throw error;
		}
	}

	async #nextFile(): Promise<OpenFile> {
		const { folder, retention } = this.#options;
		const retirement = findRetired(folder, CHAIN, retention);
		const name = nameOf(CHAIN, this.#nextIndex);
		// A name that another process has taken is not ours to write to.
		const handle = await open(join(folder, name), 'ax', 0o640);
		this.#nextIndex += 1;
		if (retirement !== undefined) {
			const { names, head } = retirement;
			this.#retiring = names;
			this.#first(recordText('retired', { files: names.length, head }, Date.now()));
		}
		return { name, handle, openedAtMs: performance.now(), bytes: 0 };
	}

	/** Puts a record before those that wait. */
	#first(text: string): void {
		this.#pending.unshift(text);
		this.#pendingChars += text.length;
	}

	#isFull({ bytes, openedAtMs }: OpenFile): boolean {
		const { fileBytesMax = AUDIT_LIMITS.fileBytesMax } = this.#options;
		return bytes >= fileBytesMax || performance.now() - openedAtMs >= AUDIT_LIMITS.fileAgeMsMax;
	}

	/** Gives records their place in the chain, as many as one write takes. */
	#compose(): void {
		const { fileBytesMax = AUDIT_LIMITS.fileBytesMax } = this.#options;
		const charsMax = Math.min(AUDIT_LIMITS.batchBytesMax, fileBytesMax);
		let lines = '';
		let taken = 0;
		for (const text of this.#pending) {
			if (lines.length >= charsMax) break;
			const { line, head } = chained(this.#head, text);
			this.#head = head;
			lines += `${line}\n`;
			taken += 1;
			this.#pendingChars -= text.length;
		}
		this.#pending = this.#pending.slice(taken);
		if (this.#lost > 0 && this.#pending.length === 0) {
			const { line, head } = chained(this.#head, recordText('lost', { count: this.#lost }, Date.now()));
			this.#head = head;
			lines += `${line}\n`;
			this.#lost = 0;
			taken += 1;
		}
		this.#outgoing = Buffer.from(lines, 'latin1');
		this.#outgoingRecords = taken;
	}

	/** Removes files when the disk has it that they are retired. */
	async #retire(file: OpenFile): Promise<void> {
		if (this.#retiring.length === 0) return;
		await this.#sync(file);
		for (const name of this.#retiring) await rm(join(this.#options.folder, name), { force: true });
		this.#retiring = [];
	}

	async #sync({ handle }: OpenFile): Promise<void> {
		await handle.datasync();
		this.#syncedAtMs = performance.now();
		this.#unsynced = false;
	}

	async #leaveFile(): Promise<void> {
		const file = this.#file;
		if (file === undefined) return;
		await this.#sync(file);
		this.#file = undefined;
		await file.handle.close();
		// What the disk did not take whole is no end of the chain.
		if (this.#outgoing.length === 0) this.#options.onHead(this.#head, file.name);
	}

	#fail(cause: unknown): void {
		if (!this.#failing) this.#options.onFailure(cause);
		this.#failing = true;
	}

	#recover(): void {
		if (this.#failing) this.#options.onRecovery();
		this.#failing = false;
	}
}
