// Shows /asyncapi.json for people: channels, their messages field by field, close codes.

function make(tag, content = [], attributes = {}) {
  const node = document.createElement(tag);
  node.append(...[content].flat());
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

/** Text in which what stands between backquotes is code. */
function prose(text) {
  return text.split('`').map((part, index) => (index % 2 ? make('code', part) : part));
}

function table(caption, heads, rows) {
  return make('div', make('table', [
    make('caption', caption),
    make('thead', make('tr', heads.map((head) => make('th', head, { scope: 'col' })))),
    make('tbody', rows.map((cells) => make('tr', cells.map((cell) => make('td', cell))))),
  ]), { class: 'wide' });
}

function typeOf(schema) {
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(' or ');
  if (schema.$ref) return schema.$ref.split('/').at(-1);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.type === 'array') return `list of ${typeOf(schema.items)}`;
  return schema.format ? `${schema.type} (${schema.format})` : schema.type ?? 'anything';
}

function limits({ minimum, maximum, maxItems }) {
  const found = [
    minimum === undefined ? '' : `at least ${minimum}`,
    maximum === undefined ? '' : `at most ${maximum}`,
    maxItems === undefined ? '' : `at most ${maxItems} of them`,
  ].filter(Boolean).join(', ');
  return found && `(${found})`;
}

function shape(name, schema) {
  const rows = Object.entries(schema.properties).map(([field, part]) => [
    make('code', field),
    typeOf(part),
    prose([part.description, limits(part)].filter(Boolean).join(' ')),
  ]);
  return make('section', [
    make('h3', name, { id: `schema-${name}` }),
    make('p', prose(schema.description ?? '')),
    table(`Fields of ${name}`, ['Field', 'Type', 'Meaning'], rows),
  ]);
}

function channel(name, about, api) {
  const resolve = ({ $ref }) => $ref.slice(2).split('/').reduce((node, key) => node[key], api);
  const server = resolve(about.servers[0]);
  const operations = Object.values(api.operations)
    .filter((operation) => operation.channel.$ref === `#/channels/${name}`)
    .map((operation) => {
      const names = operation.messages.map((message) => resolve(resolve(message)).name);
      return make('li', [...prose(operation.title), ': ', ...names.map((found) => make(
        'a', found, { href: `#schema-${found}` },
      ))]);
    });
  return make('section', [
    make('h3', about.title),
    make('p', make('code', `${server.protocol}://${server.host}${about.address}`)),
    make('p', about.description),
    make('ul', operations),
  ]);
}

function show(api) {
  document.getElementById('document').replaceChildren(
    ...api.info.description.trim().split('\n\n').map((text) => make('p', prose(text))),
    make('h2', 'Channels'),
    ...Object.entries(api.channels).map(([name, about]) => channel(name, about, api)),
    make('h2', 'Messages'),
    ...Object.entries(api.components.schemas).map(([name, schema]) => shape(name, schema)),
    make('h2', 'Close codes'),
    table('Close codes, and the HTTP statuses that are their like', [
      'Code', 'Meaning', 'The client should', 'HTTP',
    ], api['x-close-codes'].map(({ code, meaning, client, status }) => [
      make('code', String(code)), meaning, client, status === null ? '' : String(status),
    ])),
  );
  document.getElementById('document').hidden = false;
  document.getElementById('state').replaceChildren(
    'AsyncAPI ', api.asyncapi, ', ', make('a', '/asyncapi.json', { href: '/asyncapi.json' }),
  );
}

const answer = await fetch('/asyncapi.json').catch(() => null);
if (answer?.ok) show(await answer.json());
else document.getElementById('state').textContent = `No answer (${answer?.status ?? 'no network'}).`;
