// SPDX-License-Identifier: Apache-2.0
// Arguments: HOST PORT pairs; the root comes by NODE_EXTRA_CA_CERTS, as in a pod.
// One line each: "HOST accepted" or "HOST refused: why".
import https from 'node:https'

const loopback = (name, options, done) =>
  options.all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4)

const attempt = (host, port) => new Promise(resolve => {
  const request = https.request({ host, port, path: '/', agent: false, lookup: loopback }, response => {
    response.resume()
    response.on('end', () => resolve(response.statusCode === 200 ? 'accepted' : `broken: ${response.statusCode}`))
  })
  request.on('error', e => resolve(`refused: ${e.code ?? ''} ${e.message}`))
  request.end()
})

const args = process.argv.slice(2)
for (let i = 0; i + 1 < args.length; i += 2) console.log(args[i], await attempt(args[i], Number(args[i + 1])))
