/** Python packages that are made in the test: wheels, byte for byte the same each time, and a server in one of them. */
import { createHash } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { crc32, deflateRawSync, gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';

export interface WheelOptions {
	readonly name: string;
	readonly version: string;
	/** Python modules by their file names. */
	readonly files?: Readonly<Record<string, string>>;
	/** Console scripts: `module:function` by their names. */
	readonly scripts?: Readonly<Record<string, string>>;
	/** Lines of Requires-Dist. */
	readonly requires?: readonly string[];
	readonly extras?: readonly string[];
	readonly python?: string;
}

export interface Distribution {
	readonly file: string;
	readonly content: Buffer;
	/** In hexadecimal. */
	readonly sha256: string;
}

/** As images and the lock have it. */
export function integrityOf({ sha256 }: Distribution): string {
	return `sha256-${Buffer.from(sha256, 'hex').toString('base64')}`;
}

/** A wheel, as PEP 427 has it. */
export function makeWheel({ name, version, files = {}, scripts = {}, ...said }: WheelOptions): Distribution {
	const stem = `${name.replace(/[-.]+/g, '_')}-${version}`;
	const info = `${stem}.dist-info`;
	const entries: Record<string, string> = {
		...files,
		[`${info}/METADATA`]: metadata({ name, version, ...said }),
		[`${info}/WHEEL`]: 'Wheel-Version: 1.0\nGenerator: slipway-test\nRoot-Is-Purelib: true\nTag: py3-none-any\n',
	};
	const lines = Object.entries(scripts).map(([script, target]) => `${script} = ${target}\n`);
	if (lines.length > 0) entries[`${info}/entry_points.txt`] = `[console_scripts]\n${lines.join('')}`;
	const record = Object.entries(entries).map(([path, text]) => {
		const digest = createHash('sha256').update(text).digest('base64url');
		return `${path},sha256=${digest},${Buffer.byteLength(text)}\n`;
	});
	entries[`${info}/RECORD`] = `${record.join('')}${info}/RECORD,,\n`;
	return distribution(`${stem}-py3-none-any.whl`, zip(entries));
}

/** The same package as its source only, which would have to be built. Its build says so by failing. */
export async function makeSource({ name, version }: WheelOptions): Promise<Distribution> {
	const stem = `${name.replace(/[-.]+/g, '_')}-${version}`;
	const tar = pack();
	const files = {
		'PKG-INFO': metadata({ name, version }),
		'pyproject.toml': '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
		'backend.py': backend({
			name,
			version,
			files: { [`${name.replace(/[-.]+/g, '_')}.py`]: 'def main(): print("from source")\n' },
			scripts: { [name]: `${name.replace(/[-.]+/g, '_')}:main` },
		}),
	};
	for (const [path, text] of Object.entries(files)) tar.entry({ name: `${stem}/${path}`, mtime: new Date(0) }, text);
	tar.finalize();
	return distribution(`${stem}.tar.gz`, gzipSync(await buffer(tar)));
}

/** A build backend, as PEP 517 has it, that has the wheel in it. */
export function backend(wheel: WheelOptions): string {
	const { file, content } = makeWheel(wheel);
	return `
import base64, os
def build_wheel(folder, config_settings=None, metadata_directory=None):
    with open(os.path.join(folder, ${JSON.stringify(file)}), "wb") as out:
        out.write(base64.b64decode(${JSON.stringify(content.toString('base64'))}))
    return ${JSON.stringify(file)}
`;
}

/** A server of MCP on stdio, in nothing but the standard library: one tool, that says what it was told and where it is. */
export const SERVER_PY = `
import json, os, sys

def answer(method, params):
    if method == "initialize":
        return {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "snake", "version": "1"}}
    if method == "tools/list":
        return {"tools": [{"name": "hiss", "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}}}]}
    if method == "tools/call":
        return {"content": [{"type": "text", "text": json.dumps(look(params["arguments"].get("text")))}]}
    return {}

def look(text):
    from snake_tail import shout
    def writes(path):
        try:
            open(path, "w").close()
            return True
        except OSError:
            return False
    return {
        "text": shout(text or ""), "uid": os.getuid(), "arguments": sys.argv[1:],
        "writes": [path for path in ("/app/x", "/app/venv/x", "/etc/x", "/x") if writes(path)],
        "interfaces": sorted(os.listdir("/sys/class/net")),
    }

def main():
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message and "method" in message:
            result = answer(message["method"], message.get("params", {}))
            # Not flushed: it is for the image to see that stdio is not held back.
            print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}))
`;

function metadata({
	name,
	version,
	requires = [],
	extras = [],
	python,
}: Omit<WheelOptions, 'files' | 'scripts'>): string {
	return [
		'Metadata-Version: 2.1',
		`Name: ${name}`,
		`Version: ${version}`,
		...(python === undefined ? [] : [`Requires-Python: ${python}`]),
		...extras.map((extra) => `Provides-Extra: ${extra}`),
		...requires.map((line) => `Requires-Dist: ${line}`),
		'',
	].join('\n');
}

function distribution(file: string, content: Buffer): Distribution {
	return { file, content, sha256: createHash('sha256').update(content).digest('hex') };
}

/** The format's own epoch, 1980-01-01, as its two fields have it. */
const ZIP_DATE = 0x21;

function zip(entries: Readonly<Record<string, string>>): Buffer {
	const locals: Buffer[] = [];
	const centrals: Buffer[] = [];
	let offset = 0;
	for (const [path, text] of Object.entries(entries)) {
		const name = Buffer.from(path);
		const data = Buffer.from(text);
		const packed = deflateRawSync(data);
		// Version, flags, method, time, date, checksum, sizes, length of the name, length of the extra field.
		const common = Buffer.alloc(26);
		common.writeUInt16LE(20, 0);
		common.writeUInt16LE(8, 4);
		common.writeUInt16LE(ZIP_DATE, 8);
		common.writeUInt32LE(crc32(data), 10);
		common.writeUInt32LE(packed.length, 14);
		common.writeUInt32LE(data.length, 18);
		common.writeUInt16LE(name.length, 22);
		const local = Buffer.concat([Buffer.from('PK\x03\x04'), common, name, packed]);
		// Comment, disk and attributes are none; then where it begins.
		const rest = Buffer.alloc(14);
		rest.writeUInt32LE(0o100644 * 0x10000, 6);
		rest.writeUInt32LE(offset, 10);
		centrals.push(Buffer.concat([Buffer.from('PK\x01\x02\x14\x03'), common, rest, name]));
		locals.push(local);
		offset += local.length;
	}
	const directory = Buffer.concat(centrals);
	const end = Buffer.alloc(22);
	end.write('PK\x05\x06', 'latin1');
	end.writeUInt16LE(centrals.length, 8);
	end.writeUInt16LE(centrals.length, 10);
	end.writeUInt32LE(directory.length, 12);
	end.writeUInt32LE(offset, 16);
	return Buffer.concat([...locals, directory, end]);
}
