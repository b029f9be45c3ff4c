// An OpenID Connect provider on loopback, for tests. It says {"issuer": ...} once it listens, and obeys lines on standard input: "rotate"
// replaces its keys. It ends with its standard input. Whoever signs in is in the groups that stand after a "+" in the login: "ann+leads".
import { createServer } from 'node:http';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createInterface } from 'node:readline';
import Provider from 'oidc-provider';

const signing = () => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), alg: 'RS256', use: 'sig', kid: randomBytes(6).toString('hex') };
};

const client = (id, more) => ({
  client_id: id, token_endpoint_auth_method: 'none', application_type: 'native', response_types: ['code'],
  grant_types: ['authorization_code', 'urn:ietf:params:oauth:grant-type:device_code'], redirect_uris: ['http://127.0.0.1/callback'], ...more,
});

const make = (issuer) => {
  const p = new Provider(issuer, {
    clients: [client('isthmus'), client('mail')],
    jwks: { keys: [signing()] },
    cookies: { keys: [randomBytes(16).toString('hex')] },
    pkce: { required: () => true, methods: ['S256'] },
    features: { devInteractions: { enabled: true }, deviceFlow: { enabled: true } },
    claims: { openid: ['sub'], profile: ['preferred_username', 'groups'], email: ['email'] },
    conformIdTokenClaims: false, // claims of scopes are in the identity token, as other providers have them
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => {
        const [name, ...groups] = id.split('+');
        return { sub: id, preferred_username: name, email: `${name}@example.net`, groups };
      },
    }),
  });
  return p;
};

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  let serve = make(issuer).callback();
  server.on('request', (req, res) => serve(req, res));
  const lines = createInterface({ input: process.stdin });
  lines.on('line', (line) => {
    if (line === 'rotate') {
      serve = make(issuer).callback();
      console.log(JSON.stringify({ done: line }));
    }
  });
  lines.on('close', () => process.exit(0));
  console.log(JSON.stringify({ issuer }));
});
