// SPDX-License-Identifier: Apache-2.0
// Judges rendered manifests by the types of Kubernetes' API (and of the operators whose resources they use): unknown keys, missing ones and
// wrong types by the TypeScript compiler, values by the packages' validators. What is no known kind is an error.
//   check.mjs FILE.yaml...     a line for each thing that is wrong; the last one is "N objects, N wrong"
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import ts from 'typescript';
import { parseAllDocuments } from 'yaml';

const here = path.dirname(new URL(import.meta.url).pathname);
// apiVersion -> the module that has its kinds
function moduleOf(apiVersion) {
	const [group, version] = apiVersion.includes('/') ? apiVersion.split('/') : ['', apiVersion];
	if (group === 'monitoring.coreos.com') return `@kubernetes-models/prometheus-operator/${group}/${version}`;
	if (group.endsWith('cert-manager.io')) return `@kubernetes-models/cert-manager/${group}/${version}`;
	return group ? `kubernetes-models/${group}/${version}` : `kubernetes-models/${version}`;
}

// Kinds that no package has the types of yet: their keys, by hand, from the API's reference.
const BY_HAND = {
	// https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#cluster-trust-bundles
	'certificates.k8s.io/v1beta1 ClusterTrustBundle': { metadata: ['name', 'labels', 'annotations'], spec: ['signerName', 'trustBundle'] },
};
function judgeByHand(object, keys) {
	const wrong = [];
	for (const key of Object.keys(object)) if (!['apiVersion', 'kind', ...Object.keys(keys)].includes(key)) wrong.push(`${key}: unknown`);
	for (const [part, known] of Object.entries(keys)) {
		for (const key of Object.keys(object[part] ?? {})) if (!known.includes(key)) wrong.push(`${part}.${key}: unknown`);
	}
	return wrong;
}

let count = 0;
const wrong = [];
const sources = []; // {where, line}
let program = '';
for (const file of process.argv.slice(2)) {
	for (const document of parseAllDocuments(fs.readFileSync(file, 'utf8'))) {
		for (const e of document.errors) wrong.push(`${file}: ${e.message}`);
		const object = document.toJS();
		if (!object) continue;
		count++;
		const where = `${path.basename(file)}: ${object.kind} ${object.metadata?.namespace ?? ''}/${object.metadata?.name}`;
		const byHand = BY_HAND[`${object.apiVersion} ${object.kind}`];
		if (byHand) {
			wrong.push(...judgeByHand(object, byHand).map((w) => `${where}: ${w}`));
			continue;
		}
		let model;
		try {
			model = (await import(moduleOf(object.apiVersion)))[object.kind];
		} catch { /* below */ }
		if (!model) {
			wrong.push(`${where}: no kind ${object.kind} in ${object.apiVersion}`);
			continue;
		}
		try {
			new model(object).validate();
		} catch (e) {
			wrong.push(`${where}: ${e.message}`);
		}
		const name = `o${sources.length}`;
		sources.push(where);
		program += `import type { I${object.kind} as I${name} } from ${JSON.stringify(moduleOf(object.apiVersion))};\n`
			+ `export const ${name}: I${name} = ${JSON.stringify(object)};\n`;
	}
}

const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'egret-manifests-'));
try {
	const entry = path.join(directory, 'all.ts');
	fs.writeFileSync(entry, program);
	fs.symlinkSync(path.join(here, 'node_modules'), path.join(directory, 'node_modules'));
	const compiled = ts.createProgram([entry], { noEmit: true, strict: true, skipLibCheck: true, preserveSymlinks: true,
		module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext, target: ts.ScriptTarget.ES2022, types: [] });
	for (const d of ts.getPreEmitDiagnostics(compiled)) {
		const text = ts.flattenDiagnosticMessageText(d.messageText, ' ').replace(/\s+/g, ' ').slice(0, 600);
		const line = d.file ? d.file.getLineAndCharacterOfPosition(d.start).line : -1;
		wrong.push(`${d.file?.fileName === entry ? sources[Math.floor(line / 2)] : d.file?.fileName ?? 'compiler'}: ${text}`);
	}
} finally {
	fs.rmSync(directory, { recursive: true });
}
for (const w of wrong) console.log(w);
console.log(`${count} objects, ${wrong.length} wrong`);
process.exit(wrong.length ? 1 : 0);
