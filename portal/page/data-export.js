// <data-export>: a person asks for a copy of their data, sees how far it is, downloads, checks and deletes it.
// No dependency, no build step. docs/EMBEDDING.md says how to use it.

const LANGUAGES = ['en', 'de', 'fr', 'es'];
/** Every text, in each of the languages. */
const TABLE = {
  title: ['A copy of your data', 'Eine Kopie Ihrer Daten', 'Une copie de vos données', 'Una copia de sus datos'],
  get: [
    'You get one archive with your data as {0}:',
    'Sie erhalten ein Archiv mit Ihren Daten als {0}:',
    'Vous recevez une archive de vos données aux formats {0} :',
    'Recibirá un archivo con sus datos en {0}:',
  ],
  kept: [
    'It is kept for {0}, then deleted.',
    'Es wird {0} aufbewahrt, danach gelöscht.',
    'Elle est conservée {0}, puis supprimée.',
    'Se conserva {0} y después se elimina.',
  ],
  start: ['Start', 'Beginn', 'Début', 'Inicio'],
  night: ['At night, from {0}', 'Nachts, ab {0}', 'La nuit, à partir de {0}', 'Por la noche, desde {0}'],
  soon: ['As soon as possible', 'So bald wie möglich', 'Dès que possible', 'Lo antes posible'],
  xlsx: [
    'Also as one workbook for Excel and other spreadsheets',
    'Auch als Arbeitsmappe für Excel und andere Tabellenprogramme',
    'Aussi sous forme de classeur pour Excel et d’autres tableurs',
    'También como libro para Excel y otras hojas de cálculo',
  ],
  parquet: [
    'Also as Parquet for data analysis',
    'Auch als Parquet für Datenanalysen',
    'Aussi en Parquet pour l’analyse de données',
    'También como Parquet para análisis de datos',
  ],
  formats: ['Formats', 'Formate', 'Formats', 'Formatos'],
  part: ['Only a part of my data', 'Nur ein Teil meiner Daten', 'Seulement une partie de mes données', 'Solo una parte de mis datos'],
  which: ['Data sets', 'Datensätze', 'Jeux de données', 'Conjuntos de datos'],
  days: ['Days', 'Tage', 'Jours', 'Días'],
  from: ['From', 'Von', 'Du', 'Desde'],
  to: ['To', 'Bis', 'Au', 'Hasta'],
  before: ['Before', 'Vor', 'Avant', 'Antes de'],
  timed: ['Only of: {0}', 'Nur von: {0}', 'Seulement de : {0}', 'Solo de: {0}'],
  values: [
    'Only these values, with commas between them',
    'Nur diese Werte, mit Kommas dazwischen',
    'Seulement ces valeurs, séparées par des virgules',
    'Solo estos valores, separados por comas',
  ],
  order: [
    'The last day is before the first one.',
    'Der letzte Tag liegt vor dem ersten.',
    'Le dernier jour précède le premier.',
    'El último día es anterior al primero.',
  ],
  day: [
    'A day is not whole. Complete it, or take it out.',
    'Ein Tag ist unvollständig. Ergänzen oder entfernen Sie ihn.',
    'Un jour est incomplet. Complétez-le ou effacez-le.',
    'Un día está incompleto. Complételo o bórrelo.',
  ],
  needed: [
    '{0}: comes along with {1}.',
    '{0}: gehört zu {1}.',
    '{0} : fait partie de {1}.',
    '{0}: forma parte de {1}.',
  ],
  part_of: ['Part', 'Teil', 'Partie', 'Parte'],
  ask: ['Ask for a copy', 'Kopie anfordern', 'Demander une copie', 'Solicitar una copia'],
  waiting: ['Your copy is waiting', 'Ihre Kopie wartet', 'Votre copie est en attente', 'Su copia está en espera'],
  running: [
    'Your copy is being made',
    'Ihre Kopie wird erstellt',
    'Votre copie est en cours de création',
    'Su copia se está creando',
  ],
  close: [
    'You can close this page.',
    'Sie können diese Seite schließen.',
    'Vous pouvez fermer cette page.',
    'Puede cerrar esta página.',
  ],
  attempt: [
    'A fault interrupted it. This is attempt {0}.',
    'Eine Störung hat sie unterbrochen. Dies ist Versuch {0}.',
    'Une panne l’a interrompue. C’est la tentative {0}.',
    'Un fallo la interrumpió. Este es el intento {0}.',
  ],
  of: ['{0} of about {1} rows', '{0} von etwa {1} Zeilen', '{0} lignes sur environ {1}', '{0} de unas {1} filas'],
  rows: ['{0} rows', '{0} Zeilen', '{0} lignes', '{0} filas'],
  inside: ['Rows inside: {0}', 'Enthaltene Zeilen: {0}', 'Lignes incluses : {0}', 'Filas incluidas: {0}'],
  ready: ['Your copy is ready', 'Ihre Kopie ist fertig', 'Votre copie est prête', 'Su copia está lista'],
  download: ['Download', 'Herunterladen', 'Télécharger', 'Descargar'],
  receipt: ['Save the receipt', 'Beleg speichern', 'Enregistrer le reçu', 'Guardar el recibo'],
  size: ['Size', 'Größe', 'Taille', 'Tamaño'],
  until: ['Kept until', 'Aufbewahrt bis', 'Conservée jusqu’à', 'Se conserva hasta'],
  as_of: ['Data as of', 'Stand der Daten', 'État des données', 'Datos a fecha de'],
  asked: ['Asked for', 'Angefordert', 'Demandée', 'Solicitada'],
  reference: ['Reference', 'Referenz', 'Référence', 'Referencia'],
  withdraw: ['Take it back', 'Zurückziehen', 'Annuler la demande', 'Retirar la solicitud'],
  remove: ['Delete now', 'Jetzt löschen', 'Supprimer maintenant', 'Eliminar ahora'],
  sure: [
    'Are you sure? This copy cannot be downloaded afterwards.',
    'Sind Sie sicher? Diese Kopie kann danach nicht heruntergeladen werden.',
    'Êtes-vous sûr ? Cette copie ne pourra plus être téléchargée.',
    '¿Seguro? Después no podrá descargar esta copia.',
  ],
  no: ['No, keep it', 'Nein, behalten', 'Non, la garder', 'No, conservarla'],
  check: [
    'Check a downloaded file',
    'Heruntergeladene Datei prüfen',
    'Vérifier un fichier téléchargé',
    'Comprobar un archivo descargado',
  ],
  pick: [
    'Choose the file, or drop it here. It stays on your device.',
    'Datei auswählen oder hier ablegen. Sie bleibt auf Ihrem Gerät.',
    'Choisissez le fichier ou déposez-le ici. Il reste sur votre appareil.',
    'Elija el archivo o suéltelo aquí. No sale de su dispositivo.',
  ],
  good: [
    'This is your copy, complete and unchanged.',
    'Das ist Ihre Kopie, vollständig und unverändert.',
    'C’est votre copie, complète et intacte.',
    'Es su copia, completa y sin cambios.',
  ],
  bad: [
    'This is another file, or it is damaged. Download your copy again.',
    'Das ist eine andere Datei, oder sie ist beschädigt. Laden Sie Ihre Kopie noch einmal herunter.',
    'C’est un autre fichier, ou il est endommagé. Téléchargez à nouveau votre copie.',
    'Es otro archivo, o está dañado. Descargue su copia de nuevo.',
  ],
  failed: [
    'Your copy could not be made',
    'Ihre Kopie konnte nicht erstellt werden',
    'Votre copie n’a pas pu être créée',
    'Su copia no pudo crearse',
  ],
  attempts_exhausted: [
    'This is our fault, not yours. Try again. If it fails once more, tell the support the reference.',
    'Das ist unser Fehler, nicht Ihrer. Versuchen Sie es erneut. Misslingt es noch einmal, nennen Sie dem Support die Referenz.',
    'C’est notre faute, pas la vôtre. Réessayez. En cas de nouvel échec, donnez la référence à l’assistance.',
    'Es un fallo nuestro, no suyo. Inténtelo de nuevo. Si vuelve a fallar, indique la referencia al soporte.',
  ],
  unreadable_value: [
    'A part of your data could not be read. Try again later, or tell the support the reference.',
    'Ein Teil Ihrer Daten war nicht lesbar. Versuchen Sie es später, oder nennen Sie dem Support die Referenz.',
    'Une partie de vos données n’a pas pu être lue. Réessayez plus tard, ou donnez la référence à l’assistance.',
    'Una parte de sus datos no pudo leerse. Inténtelo más tarde o indique la referencia al soporte.',
  ],
  scope_refused: [
    'The service does not have the part that was asked for any more. Ask for another one.',
    'Den gewünschten Teil gibt es bei diesem Dienst nicht mehr. Fordern Sie einen anderen an.',
    'Le service n’a plus la partie demandée. Demandez-en une autre.',
    'El servicio ya no tiene la parte solicitada. Solicite otra.',
  ],
  account_deleted: [
    'The account no longer exists.',
    'Das Konto besteht nicht mehr.',
    'Le compte n’existe plus.',
    'La cuenta ya no existe.',
  ],
  revoked: [
    'The operators took it back. Ask the support, or try again.',
    'Der Betreiber hat sie zurückgezogen. Fragen Sie den Support, oder versuchen Sie es erneut.',
    'L’opérateur l’a retirée. Contactez l’assistance, ou réessayez.',
    'El operador la retiró. Pregunte al soporte o inténtelo de nuevo.',
  ],
  retry: ['Try again', 'Erneut versuchen', 'Réessayer', 'Intentar de nuevo'],
  expired: ['This copy has expired', 'Diese Kopie ist abgelaufen', 'Cette copie a expiré', 'Esta copia ha caducado'],
  withdrawn: [
    'This copy was taken back',
    'Diese Kopie wurde zurückgezogen',
    'Cette copie a été annulée',
    'Esta copia fue retirada',
  ],
  over: [
    'It can no longer be downloaded. You can ask for a new one.',
    'Sie kann nicht mehr heruntergeladen werden. Sie können eine neue anfordern.',
    'Elle ne peut plus être téléchargée. Vous pouvez en demander une nouvelle.',
    'Ya no puede descargarse. Puede solicitar una nueva.',
  ],
  acting: [
    'You act as another person. You may look, and nothing else.',
    'Sie handeln für eine andere Person. Sie dürfen nur ansehen.',
    'Vous agissez pour une autre personne. Vous pouvez seulement regarder.',
    'Actúa en nombre de otra persona. Solo puede mirar.',
  ],
  ended: [
    'You are not signed in, or your session has ended. Open this page from the platform.',
    'Sie sind nicht angemeldet, oder Ihre Sitzung ist beendet. Öffnen Sie diese Seite von der Plattform aus.',
    'Vous n’êtes pas connecté, ou votre session est terminée. Ouvrez cette page depuis la plateforme.',
    'No ha iniciado sesión, o su sesión ha terminado. Abra esta página desde la plataforma.',
  ],
  out: ['Sign out', 'Abmelden', 'Se déconnecter', 'Cerrar sesión'],
  offline: [
    'You are offline. This page continues when the connection is back.',
    'Sie sind offline. Es geht weiter, sobald die Verbindung wieder da ist.',
    'Vous êtes hors ligne. Cette page continue au retour de la connexion.',
    'No hay conexión. Esta página sigue cuando vuelva.',
  ],
  away: [
    'The service does not answer. This page tries again by itself.',
    'Der Dienst antwortet nicht. Diese Seite versucht es von selbst erneut.',
    'Le service ne répond pas. Cette page réessaie toute seule.',
    'El servicio no responde. Esta página lo intenta de nuevo.',
  ],
  later: [
    'Not yet possible. Ask again {0}.',
    'Noch nicht möglich. Versuchen Sie es {0} erneut.',
    'Pas encore possible. Réessayez : {0}.',
    'Aún no es posible. Inténtelo: {0}.',
  ],
  error: [
    'This did not work. Reference: {0}',
    'Das hat nicht geklappt. Referenz: {0}',
    'Cela n’a pas fonctionné. Référence : {0}',
    'Esto no funcionó. Referencia: {0}',
  ],
  gone: [
    'This copy does not exist, or belongs to another account.',
    'Diese Kopie gibt es nicht, oder sie gehört zu einem anderen Konto.',
    'Cette copie n’existe pas, ou appartient à un autre compte.',
    'Esta copia no existe o pertenece a otra cuenta.',
  ],
  not_me: ['Was it not you?', 'Waren Sie das nicht?', 'Ce n’était pas vous ?', '¿No fue usted?'],
  not_me_text: [
    'This copy was asked for {0}. If it was not you, another person may be able to use your account. Take the copy back, then change your password.',
    'Diese Kopie wurde {0} angefordert. Wenn Sie das nicht waren, kann eine andere Person Ihr Konto benutzen. Ziehen Sie die Kopie zurück, und ändern Sie dann Ihr Passwort.',
    'Cette copie a été demandée : {0}. Si ce n’était pas vous, une autre personne peut utiliser votre compte. Annulez la demande, puis changez votre mot de passe.',
    'Esta copia se solicitó: {0}. Si no fue usted, otra persona puede usar su cuenta. Retire la solicitud y después cambie su contraseña.',
  ],
  not_me_yes: [
    'It was not me: take it back',
    'Ich war das nicht: zurückziehen',
    'Ce n’était pas moi : annuler',
    'No fui yo: retirarla',
  ],
  not_me_no: ['It was me', 'Ich war das', 'C’était moi', 'Fui yo'],
  not_me_over: [
    'This copy cannot be downloaded. If you did not ask for it, change your password now.',
    'Diese Kopie kann nicht heruntergeladen werden. Wenn Sie sie nicht angefordert haben, ändern Sie jetzt Ihr Passwort.',
    'Cette copie ne peut pas être téléchargée. Si vous ne l’avez pas demandée, changez votre mot de passe maintenant.',
    'Esta copia no puede descargarse. Si no la solicitó, cambie su contraseña ahora.',
  ],
  history: ['Earlier copies', 'Frühere Kopien', 'Copies précédentes', 'Copias anteriores'],
  more: ['Show more', 'Mehr anzeigen', 'Afficher plus', 'Mostrar más'],
};

/** The texts by language. A page may add one: `texts.it = {...texts.en, ...}`, then set `lang`. */
export const texts = Object.fromEntries(LANGUAGES.map((language, at) => [
  language,
  Object.fromEntries(Object.entries(TABLE).map(([name, row]) => [name, row[at]])),
]));

const sheet = (css) => {
  const made = new CSSStyleSheet();
  made.replaceSync(css);
  return made;
};

// Colours and font are the host's. The element sets no color-scheme: it would go dark inside a light page.
const css = sheet(`
:host{display:block;max-inline-size:42rem;line-height:1.5;--line:color-mix(in srgb,currentColor 30%,transparent);--tint:color-mix(in srgb,currentColor 7%,transparent)}
[hidden]{display:none!important}
*{box-sizing:border-box;margin:0;padding:0}
h1,h2,h3{font-size:1.15em;line-height:1.3}
[part=title]{font-size:1.5em;margin-block-end:1rem}
:focus-visible{outline:.19rem solid;outline-offset:.19rem}
:is(h1,h2,h3):focus{outline:0}
.box,.note{display:grid;grid-template-columns:minmax(0,1fr);gap:.85rem;border:1px solid var(--line);border-radius:.75rem;padding:1.25rem;margin-block-end:1rem;overflow-wrap:anywhere}
.note{background:var(--tint);border-inline-start-width:.35rem}
li .box{border:0;padding-inline:0}
.box>button{justify-self:start}
.box .note,li .box{margin:0}
details+details{margin-block-start:-.5rem}
.quiet,dt{opacity:.85}
ul{padding-inline-start:1.25rem}
ol{list-style:none}
li li{overflow-wrap:anywhere}
ol>li{border-block-start:1px solid var(--line)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.35rem 1.25rem}
code{font-family:ui-monospace,monospace}
.acts{display:flex;flex-wrap:wrap;gap:.6rem}
button,summary,label,[type=file]{min-block-size:2.75rem;font:inherit;color:inherit}
button{padding:.5rem 1.1rem;border-radius:.6rem;border:1px solid;background:none;cursor:pointer}
button:hover{background:var(--tint)}
[aria-disabled=true],:disabled{opacity:.6}
.main{font-weight:600;background:var(--data-export-accent,color-mix(in srgb,currentColor 12%,transparent))!important;color:var(--data-export-on-accent,inherit)}
summary{padding-block:.4rem}
summary,label{display:flex;align-items:center;gap:.25rem .75rem;cursor:pointer}
summary::before{content:"+";font:1.25em/1 ui-monospace,monospace}
[open]>summary::before{content:"\\2212"}
.drop{flex-wrap:wrap;border:2px dashed var(--line);border-radius:.6rem;padding:.75rem 1rem;margin-block-end:.5rem}
.over{background:var(--tint)}
[type=file]{max-inline-size:100%}
::file-selector-button{font:inherit;color:inherit;background:none;border:1px solid;border-radius:.6rem;min-block-size:2.75rem;padding:.5rem 1.1rem;margin-inline-end:.75rem}
[type=radio],[type=checkbox]{flex:none;inline-size:1.25rem;block-size:1.25rem;accent-color:currentColor}
:is([type=date],[type=text]){font:inherit;color:inherit;background:none;border:1px solid;border-radius:.6rem;min-block-size:2.75rem;padding:.25rem .75rem;min-inline-size:0;max-inline-size:100%}
.field{display:grid;justify-items:start;padding-block:.25rem}
fieldset{border:0;min-inline-size:0}
fieldset+fieldset{margin-block-start:.85rem}
legend{font-weight:600}
progress{inline-size:100%;block-size:1rem;accent-color:var(--data-export-accent,currentColor)}
.sr{position:absolute;inline-size:1px;block-size:1px;overflow:hidden;clip-path:inset(50%)}
@media(max-width:26rem){dl{grid-template-columns:1fr;gap:0}dd{margin-block-end:.5rem}button{inline-size:100%}}
@media(prefers-reduced-motion:reduce){progress:indeterminate{appearance:none;background:var(--line)}}
`);
const pageCss = sheet(`
:root{font:1.0625rem/1.5 system-ui,sans-serif;--data-export-accent:light-dark(#1d4ed8,#9db8ff);--data-export-on-accent:light-dark(#fff,#0b1530)}
body{margin:0;padding:clamp(1rem,5vw,3rem)}
main{max-inline-size:42rem;margin-inline:auto}
`);

const HERE = new URL('.', import.meta.url);
/** The formats that an archive has on request. */
const EXTRAS = ['xlsx', 'parquet'];
/** How long a page of another origin has to bring a new token. */
const RENEWAL = 10_000;
/** The server sends a sign of life every 15 s. */
const SILENCE = 40_000;
const LONGEST = 2 ** 31 - 1;
const PIECE = 1 << 20;

/** Any answer that is not a success. */
class Refused extends Error {
  constructor(status, seconds = 0, problem = {}) {
    super(problem.title);
    Object.assign(this, { status, seconds, problem });
  }
}

const el = (name, props, ...kids) => {
  const node = Object.assign(document.createElement(name), typeof props === 'string' ? { textContent: props } : props);
  node.append(...kids);
  return node;
};
const set = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};
const show = (node, is) => {
  node.hidden = !is;
};
const fill = (text, ...values) => text.replace(/{(\d)}/g, (_, at) => values[at]);
const plain = (name) => name.replaceAll('_', ' ');
const backoff = (fails) => Math.min(30_000, 500 * 2 ** fails) * (0.5 + Math.random() / 2);

// SHA-256 in pieces, because crypto.subtle needs the whole file in memory. The constants are the first bits of the
// fractions of the roots of primes (FIPS 180-4).
const primes = [];
for (let n = 2; primes.length < 64; n++) if (primes.every((p) => n % p)) primes.push(n);
const bits = (root) => (n) => (n ** (1 / root) * 2 ** 32) | 0;
const K = Int32Array.from(primes, bits(3));
const turn = (x, n) => (x >>> n) | (x << (32 - n));

/** Returns the SHA-256 of a file, and reports the part that is done. Memory holds one piece at a time. */
export async function sha256(file, report = () => {}) {
  const H = Int32Array.from(primes.slice(0, 8), bits(2));
  const W = new Int32Array(64);
  const add = (bytes) => {
    const view = new DataView(bytes.buffer);
    for (let at = 0; at < bytes.length; at += 64) {
      for (let i = 0; i < 16; i++) W[i] = view.getInt32(at + 4 * i);
      for (let i = 16; i < 64; i++) {
        const x = W[i - 15], y = W[i - 2];
        W[i] = W[i - 16] + W[i - 7] + (turn(x, 7) ^ turn(x, 18) ^ (x >>> 3)) + (turn(y, 17) ^ turn(y, 19) ^ (y >>> 10));
      }
      let a = H[0], b = H[1], c = H[2], d = H[3], e = H[4], f = H[5], g = H[6], h = H[7];
      for (let i = 0; i < 64; i++) {
        const s = h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + K[i] + W[i];
        const t = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        h = g; g = f; f = e; e = (d + s) | 0; d = c; c = b; b = a; a = (s + t) | 0;
      }
      H[0] += a; H[1] += b; H[2] += c; H[3] += d; H[4] += e; H[5] += f; H[6] += g; H[7] += h;
    }
  };
  let at = 0;
  for (; at + PIECE <= file.size; at += PIECE) {
    add(new Uint8Array(await file.slice(at, at + PIECE).arrayBuffer()));
    report(at / file.size);
  }
  const rest = new Uint8Array(await file.slice(at).arrayBuffer());
  const last = new Uint8Array((rest.length + 72) & ~63);
  last.set(rest);
  last[rest.length] = 128;
  new DataView(last.buffer).setBigUint64(last.length - 8, BigInt(file.size) * 8n);
  add(last);
  return Array.from(H, (word) => (word >>> 0).toString(16).padStart(8, '0')).join('');
}

/** How a language writes numbers, sizes and times. Times are in the zone of the reader. */
const writer = (tag) => {
  const number = (options) => (value) => new Intl.NumberFormat(tag, options).format(value);
  const unit = (unit, unitDisplay) => number({ style: 'unit', unit, unitDisplay, maximumFractionDigits: 1 });
  const date = new Intl.DateTimeFormat(tag, { weekday: 'short', day: 'numeric', month: 'short', year: 'numeric', hour: 'numeric', minute: '2-digit', timeZoneName: 'short' });
  return {
    number: number(),
    percent: number({ style: 'percent' }),
    days: (seconds) => unit('day', 'long')(Math.round(seconds / 86400)),
    time: (at) => date.format(new Date(at)),
    list: (values) => new Intl.ListFormat(tag).format(values),
    size: (bytes) => {
      const step = Math.min(3, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
      return unit(['byte', 'kilobyte', 'megabyte', 'gigabyte'][step], step ? 'short' : 'long')(bytes / 1000 ** step);
    },
  };
};

const stateOf = ({ status, running, reason }) => {
  if (status === 'pending') return running ? 'running' : 'waiting';
  if (status === 'ready') return 'ready';
  return ['expired', 'withdrawn'].includes(reason) ? reason : 'failed';
};

/** One export. Its nodes are made once and then changed in place, so that the focus stays where it is. */
class Card {
  #host;
  #x;
  #attempt;
  #percent;

  constructor(host) {
    this.#host = host;
    const { t } = host;
    const ask = () => {
      show(this.sure, true);
      this.no.focus();
    };
    const take = () => host.withdraw(this.#x);
    this.head = host.heading(3, '');
    this.text = el('p');
    this.bar = el('progress', { max: 100, part: 'progress', ariaLabel: t.running });
    this.rows = el('p', { className: 'quiet' });
    this.facts = el('dl');
    this.download = host.button(t.download, () => host.download(this.#x), 'main');
    this.retry = host.button(t.retry, () => host.ask(`/v1/exports/${this.#x.id}/retry`), 'main');
    this.remove = host.button('', ask);
    this.receipt = host.button(t.receipt, () => host.receipt(this.#x));
    this.acts = el('div', { className: 'acts' }, this.download, this.retry, this.receipt, this.remove);
    this.yes = host.button('', take);
    this.no = host.button(t.no, () => {
      show(this.sure, false);
      this.remove.focus();
    });
    this.sure = el('div', { className: 'note', role: 'group', ariaLabel: t.sure, hidden: true }, el('p', t.sure), el('div', { className: 'acts' }, this.no, this.yes));
    this.contents = el('details', {}, el('summary'), el('ul'));
    const over = (is) => (event) => {
      event.preventDefault();
      this.drop.classList.toggle('over', is);
    };
    this.drop = el('label', { className: 'drop', ondragover: over(true), ondragleave: over(false), ondrop: (event) => {
      over(false)(event);
      this.#check(event.dataTransfer.files[0]);
    } }, t.pick, el('input', { type: 'file', onchange: ({ target }) => this.#check(target.files[0]) }));
    this.result = el('strong');
    this.digest = el('code');
    this.checks = el('details', {}, el('summary', t.check), this.drop, this.result, el('p', { className: 'quiet' }, 'SHA-256 ', this.digest));
    this.node = el('article', { className: 'box', part: 'card' }, this.head, this.text, this.bar, this.rows, this.facts, this.acts, this.sure, this.contents, this.checks);
  }

  show(x) {
    this.#x = x;
    const { t, write } = this.#host;
    const { archive, may, progress } = x;
    const state = stateOf(x);
    set(this.head, t[state]);
    set(this.text, {
      waiting: t.close,
      running: `${progress?.attempt > 1 ? `${fill(t.attempt, write.number(progress.attempt))} ` : ''}${t.close}`,
      ready: '',
      failed: t[x.reason],
    }[state] ?? t.over);
    show(this.text, this.text.textContent);
    this.#progress(state === 'running', progress);
    const facts = [
      [t.start, state === 'waiting' && (x.expected_at ? fill(t.night, write.time(x.expected_at)) : t.soon)],
      [t.size, archive && write.size(archive.bytes)],
      [t.until, archive && write.time(x.expires_at)],
      [t.as_of, archive && x.snapshot_at && write.time(x.snapshot_at)],
      [t.asked, write.time(x.requested_at)],
      [t.formats, x.formats?.length > 2 && this.#host.list(x.formats)],
      [t.part_of, x.scope && this.#host.describe(x.scope)],
      [t.reference, x.reference],
    ].filter(([, value]) => value).flat();
    facts.forEach((text, at) => set(this.facts.children[at] ?? this.facts.appendChild(el(at % 2 ? 'dd' : 'dt')), text));
    while (this.facts.children[facts.length]) this.facts.lastChild.remove();
    show(this.contents, archive);
    show(this.checks, archive);
    if (archive && !this.digest.textContent) {
      const rows = Object.entries(archive.rows);
      const [summary, list] = this.contents.children;
      set(summary, fill(t.inside, write.number(rows.reduce((sum, [, count]) => sum + count, 0))));
      list.append(...rows.map(([name, count]) => el('li', `${plain(name)}: ${write.number(count)}`)));
      set(this.digest, archive.sha256);
    }
    const back = may.includes('withdraw');
    const word = archive ? t.remove : t.withdraw;
    set(this.remove, word);
    set(this.yes, word);
    show(this.remove, back);
    if (!back) show(this.sure, false);
    show(this.download, may.includes('download'));
    show(this.receipt, may.includes('receipt'));
    show(this.retry, may.includes('retry') && state === 'failed' && !['account_deleted', 'scope_refused'].includes(x.reason));
    show(this.acts, [...this.acts.children].some((button) => !button.hidden));
  }

  /** The bar never falls within an attempt, and shows no share when the server knows none. */
  #progress(runs, p) {
    const { t, write } = this.#host;
    show(this.bar, runs);
    show(this.rows, runs && p);
    if (p?.attempt !== this.#attempt) this.#percent = 0;
    this.#attempt = p?.attempt;
    const known = p?.percent != null;
    if (known) this.bar.value = this.#percent = Math.max(this.#percent, p.percent);
    else this.bar.removeAttribute('value');
    if (!p) return;
    const [done, total] = [p.done, p.total].map(p.phase === 'uploading' ? write.size : write.number);
    const rows = p.phase === 'uploading' ? `${done} / ${total}` : fill(p.total ? t.of : t.rows, done, total);
    set(this.rows, known ? `${write.percent(this.#percent / 100)} – ${rows}` : rows);
  }

  async #check(file) {
    if (!file) return;
    const { t, write, say } = this.#host;
    const { archive } = this.#x;
    const report = (part) => set(this.result, write.percent(part));
    const good = file.size === archive.bytes && archive.sha256 === (await sha256(file, report).catch(() => 0));
    set(this.result, good ? t.good : t.bad);
    say(this.result.textContent);
  }
}

class DataExport extends HTMLElement {
  static observedAttributes = ['lang', 'token'];
  #root = this.attachShadow({ mode: 'open' });
  #ui;
  #token;
  #policy;
  /** Every export that was read, and its card, by id. */
  #known = new Map();
  #cards = new Map();
  #next;
  #paged;
  #keys = {};
  /** The fields for a part of the data, once they are made. */
  #part;
  #stop;
  #rise;
  #woken;
  #runs;
  #ended;
  #renewing;
  #renewed;
  #stage;
  /** The export of a link in a mail, and whether the page has led to it. */
  #target;
  #led;
  #tabs;
  #wake = () => {
    this.#woken = true;
    this.#stop?.abort();
    this.#rise?.();
  };
  #follow = () => {
    this.#led = false;
    this.#wake();
  };

  connectedCallback() {
    this.#root.adoptedStyleSheets = [css];
    if (this.#isPage) document.adoptedStyleSheets = [pageCss];
    this.#build();
    this.#tabs = new BroadcastChannel('data-export');
    this.#tabs.onmessage = this.#wake;
    this.#listen('addEventListener');
    this.#run();
  }

  disconnectedCallback() {
    this.#tabs.close();
    this.#listen('removeEventListener');
    this.#wake();
  }

  attributeChangedCallback(name, _, value) {
    if (name === 'token') this.token = value ?? undefined;
    else if (this.#ui) this.#build();
  }

  get token() {
    return this.#token;
  }

  /** The token of a session. Set a new one when `data-export-token` is dispatched. */
  set token(value) {
    this.#token = value;
    this.#renewed?.(true);
    this.#ended = false;
    this.#wake();
  }

  #listen(how) {
    document[how]('visibilitychange', this.#wake);
    window[how]('online', this.#wake);
    window[how]('offline', this.#wake);
    if (this.#isPage) window[how]('hashchange', this.#follow);
  }

  get #isPage() {
    return this.hasAttribute('page');
  }

  /** Our own page has a cookie; every other one brings a token. */
  get #bearer() {
    return this.#token !== undefined || HERE.origin !== location.origin;
  }

  button(text, work, name = '') {
    const made = el('button', { type: 'button', textContent: text, className: name, part: `button ${name}` });
    made.onclick = () => this.#act(made, work);
    return made;
  }

  /** Our own page begins with the first level, and any other one has a heading above the element. */
  heading(level, textContent) {
    return el(`h${level - this.#isPage}`, { textContent, tabIndex: -1, part: level === 2 ? 'title' : 'heading' });
  }

  /** Makes all nodes in the language of the element, of its nearest ancestor, or of the browser. */
  #build() {
    const near = !this.#isPage && (this.closest('[lang]') ?? document.documentElement).lang;
    const known = (tag) => texts[tag] ?? texts[tag.split('-')[0]];
    const tag = [this.lang, near, ...navigator.languages].find((tag) => tag && known(tag)) ?? 'en';
    const t = this.t = known(tag);
    this.write = writer(tag);
    if (this.#isPage) {
      document.documentElement.lang = tag;
      document.title = t.title;
    }
    const live = this.#ui?.live ?? el('p', { className: 'sr', role: 'status' });
    this.say = (text) => set(live, text);
    const acts = (...buttons) => el('div', { className: 'acts' }, ...buttons);
    const box = (...kids) => el('section', { className: 'box' }, ...kids);
    const note = (text, role) => el('p', { className: 'note', part: 'notice', textContent: text, role });
    const choice = (value, checked) => el('label', {}, el('input', { type: 'radio', name: 'start', value, checked }), el('span'));
    const u = this.#ui = {
      live,
      title: this.heading(2, t.title),
      acting: note(t.acting, null),
      lost: note('', null),
      error: note('', 'alert'),
      renew: this.button(t.retry, () => this.#again()),
      theirs: this.heading(3, t.not_me),
      theirText: el('p'),
      theirActs: acts(this.button(t.not_me_yes, () => this.withdraw({ id: this.#target }), 'main'), this.button(t.not_me_no, () => this.#leave())),
      top: el('div'),
      get: el('p'),
      entities: el('ul'),
      when: el('p'),
      soon: choice('at_once', true),
      later: choice('night'),
      parts: el('details', { ontoggle: () => this.#turnPart() }, el('summary', t.part)),
      ask: this.button(t.ask, () => this.#askByForm(), 'main'),
      list: el('ol'),
      more: this.button(t.more, () => this.#more()),
      out: this.button(t.out, () => this.#signOut()),
    };
    u.ended = box(el('p', t.ended), acts(u.renew));
    u.notMe = box(u.theirs, u.theirText, u.theirActs);
    u.choose = el('fieldset', {}, el('legend', t.start), u.soon, u.later);
    u.boxes = EXTRAS.map((value) => el('input', { type: 'checkbox', value }));
    u.form = box(u.get, u.entities, u.when, u.choose, ...u.boxes.map((box) => el('label', {}, box, el('span', t[box.value]))), u.parts, acts(u.ask));
    u.history = box(this.heading(3, t.history), u.list, u.more);
    this.#cards.clear();
    this.#root.replaceChildren(el('div', { dir: t.dir ?? '', lang: tag }, u.title, u.acting, u.lost, u.error, u.ended, u.notMe, u.top, u.form, u.history, u.out, live));
    show(u.lost);
    show(u.error);
    this.#render();
  }

  async #call(path, { headers, ...init } = {}) {
    for (let again = false; ; again = true) {
      const renewed = this.#bearer && this.#token === undefined ? await this.#renew() : true;
      const bearer = this.#bearer && { authorization: `Bearer ${this.#token}` };
      const answer = renewed && await fetch(new URL(path, HERE), { ...init, cache: 'no-store', credentials: bearer ? 'omit' : 'same-origin', headers: { ...bearer, ...headers } });
      if (answer?.ok) return answer;
      if (!answer || answer.status === 401) {
        if (answer && !again && (await this.#renew())) continue;
        throw new Refused(401);
      }
      throw new Refused(answer.status, Number(answer.headers.get('retry-after')), await answer.json().catch(() => ({})));
    }
  }

  async #json(path, init) {
    return (await this.#call(path, init)).json();
  }

  /** Asks the page for a new token, once for all calls that need one. */
  #renew() {
    if (!this.#bearer) return false;
    this.#renewing ??= new Promise((done) => {
      this.#renewed = done;
      setTimeout(done, RENEWAL, false);
      const ask = () => this.dispatchEvent(new CustomEvent('data-export-token', { bubbles: true, composed: true }));
      // A page that is still loading may not listen yet.
      if (document.readyState === 'complete') ask();
      else addEventListener('load', ask, { once: true });
    }).finally(() => {
      this.#renewing = this.#renewed = undefined;
    });
    return this.#renewing;
  }

  /** Loads, then watches what is pending, for as long as the element is in a visible page. */
  async #run() {
    if (this.#runs) return;
    this.#runs = true;
    for (let fails = 0; this.isConnected;) {
      let pause = Infinity;
      this.#woken = false;
      if (!document.hidden && !this.#ended) {
        try {
          await this.#load();
          this.#tell('lost', '');
          const all = [...this.#known.values()];
          const pending = all.find((x) => x.status === 'pending');
          pause = Math.min(...all.map((x) => x.poll_after ?? Infinity)) * 1000;
          if (!pending || document.hidden) {
            fails = 0;
          } else {
            const { seen, retry } = await this.#stream(pending.id);
            fails = seen ? 0 : fails + 1;
            // Without a stream, the first calls come soon, and later ones when the server says.
            if (fails < 4) pause = retry ?? backoff(fails);
          }
        } catch (error) {
          fails++;
          pause = Math.max(backoff(fails), 1000 * (error.seconds ?? 0));
          this.#fail(error, 'lost');
        }
      }
      await this.#sleep(pause);
    }
    this.#runs = false;
  }

  async #load() {
    const policy = await this.#json('/v1/policy');
    if (policy.user_id !== this.#policy?.user_id) this.#forget();
    this.#policy = policy;
    const { next } = await this.#page();
    if (!this.#paged) this.#next = next;
    const [, kind, id] = (this.#isPage && /^#(not-me|export)=([\da-f-]{36})$/.exec(location.hash)) || [];
    if (id && !this.#known.has(id)) {
      const x = await this.#json(`/v1/exports/${id}`).catch((error) => {
        if (error.status !== 404) throw error;
      });
      if (x?.user_id === this.#policy.user_id) this.#known.set(id, x);
    }
    this.#target = kind === 'not-me' && id;
    this.#render();
    if (id && !this.#led) this.#goTo(id);
    this.#led = true;
  }

  async #page(cursor) {
    const query = new URLSearchParams({ limit: 10, user_id: this.#policy.user_id, ...(cursor && { cursor }) });
    const page = await this.#json(`/v1/exports?${query}`);
    for (const x of page.items) this.#known.set(x.id, x);
    return page;
  }

  /** Follows one export. Returns whether events came, and when the server wants to be asked again. */
  async #stream(id) {
    const { signal } = this.#stop = new AbortController();
    let timer, retry, seen;
    const heard = () => {
      clearTimeout(timer);
      timer = setTimeout(() => this.#stop.abort(), SILENCE);
    };
    heard();
    try {
      const { body } = await this.#call(`/v1/exports/${id}/events`, { signal });
      const reader = body.pipeThrough(new TextDecoderStream()).getReader();
      for (let rest = '', part; !(part = await reader.read()).done;) {
        heard();
        const lines = (rest + part.value).split('\n');
        rest = lines.pop();
        for (const line of lines) {
          const [, name, value] = /^(data|retry): ?(.*)/.exec(line) ?? [];
          if (name === 'retry') retry = Number(value);
          if (name === 'data') {
            this.#take(JSON.parse(value));
            seen = true;
          }
        }
        if (this.#known.get(id).status !== 'pending') return { seen, retry: 0 };
      }
    } catch (error) {
      if (error.status === 401) throw error;
    } finally {
      clearTimeout(timer);
      this.#stop.abort();
    }
    return { seen, retry };
  }

  #sleep(time) {
    return new Promise((done) => {
      const timer = time < LONGEST && setTimeout(done, time);
      this.#rise = () => {
        clearTimeout(timer);
        done();
      };
      if (this.#woken) this.#rise();
    });
  }

  /** Keeps nothing of a person who is no longer signed in. */
  #forget() {
    this.#known.clear();
    this.#cards.clear();
    this.#ui.list.replaceChildren();
    this.#policy = this.#next = this.#paged = this.#stage = undefined;
    this.#clear();
    this.#turnPart();
    this.say('');
  }

  #take(x) {
    this.#known.set(x.id, x);
    this.#render();
  }

  /** Does what a button says, once however often it is clicked. */
  async #act(button, work) {
    if (button.ariaDisabled) return;
    button.ariaDisabled = 'true';
    this.#tell('error', '');
    try {
      if (await work()) {
        this.#tabs.postMessage('');
        this.#wake();
      }
    } catch (error) {
      this.#fail(error, 'error');
      // The export may have changed since it was shown.
      if (error.status) this.#wake();
    }
    button.ariaDisabled = null;
  }

  /** Asks for what is chosen in the form, unless a day in it is no day. */
  async #askByForm() {
    const { from, to } = this.#part ?? {};
    const isWhole = [from, to].every((day) => day?.checkValidity() ?? true);
    const formats = this.#ui.boxes.flatMap((box) => box.checked ? box.value : []);
    const scope = { ...this.#scope(), ...(formats[0] && { formats }) };
    const mistake = !isWhole ? this.t.day : scope.since >= scope.until ? this.t.order : '';
    if (!mistake) {
      await this.ask('/v1/exports', scope);
      this.#clear();
      return true;
    }
    this.#tell('error', mistake);
    return false;
  }

  async ask(path, scope = {}) {
    const start = this.#ui.choose.querySelector(':checked').value;
    const body = JSON.stringify({ ...scope, ...(this.#policy.start === 'choose' && { start }) });
    // Kept until there is an answer: a click after a lost answer asks for the same export.
    const wish = path + body;
    this.#keys[wish] ??= crypto.getRandomValues(new Uint32Array(4)).join('-');
    const headers = { 'idempotency-key': this.#keys[wish], 'content-type': 'application/json' };
    try {
      this.#take(await this.#json(path, { method: 'POST', headers, body }));
      delete this.#keys[wish];
    } catch (error) {
      if (error.status) delete this.#keys[wish];
      throw error;
    }
    return true;
  }

  /** Takes back what was chosen in the form. */
  #clear() {
    this.#ui.parts.open = false;
    for (const box of this.#ui.boxes) box.checked = false;
  }

  /** Returns a text with the names of formats. */
  list(formats) {
    return this.write.list(formats.map((name) => name === 'parquet' ? 'Parquet' : name.toUpperCase()));
  }

  /** Makes the fields for a part when they are opened. When they are closed, the whole is asked for, and no choice is kept. */
  #turnPart() {
    const { parts } = this.#ui;
    if (parts.open && !this.#part && this.#policy) this.#part = this.#makePart(this.#policy.entities);
    if (parts.open) return;
    parts.replaceChildren(parts.firstChild);
    this.#part = undefined;
  }

  /** Makes the fields for a part of the data. What an entity refers to is chosen with it. */
  #makePart(entities) {
    const { t, write } = this;
    const off = new Set();
    const needed = el('p', { className: 'quiet', hidden: true });
    const field = (label, props, ...more) => {
      const input = el('input', props);
      return { input, node: el('label', { className: 'field' }, label, ...more, input) };
    };
    const boxes = entities.map((entity) => {
      const input = el('input', { type: 'checkbox', checked: true, disabled: entity.always });
      input.onchange = () => {
        if (input.checked) off.delete(entity.name);
        else off.add(entity.name);
        settle();
        // What the others need cannot be left out.
        if (input.checked) off.delete(entity.name);
        const by = input.checked ? boxes.filter((box) => box.input.checked && box.entity.refers_to.includes(entity.name)) : [];
        set(needed, by.length ? fill(t.needed, plain(entity.name), write.list(by.map((box) => plain(box.entity.name)))) : '');
        show(needed, by.length);
        if (by.length) this.say(needed.textContent);
      };
      const about = el('small', { className: 'quiet', textContent: entity.about });
      return { entity, input, node: el('label', {}, input, el('span', {}, plain(entity.name), ' ', about)) };
    });
    const from = field(t.from, { type: 'date', max: '9999-12-30' });
    const to = field(t.to, { type: 'date', max: '9999-12-30' });
    const timed = el('p', { className: 'quiet' });
    const filters = entities.flatMap((entity) => entity.filters.map((column) => {
      const hint = el('small', { className: 'quiet', textContent: t.values });
      return { entity, column, ...field(`${plain(entity.name)}: ${plain(column)}`, { type: 'text' }, hint) };
    }));
    const days = el('fieldset', {}, el('legend', t.days), timed, from.node, to.node);
    const settle = () => {
      const on = new Set(entities.filter(({ name, always }) => always || !off.has(name)));
      // A set that grows while it is walked is walked to its end.
      for (const { refers_to: others } of on) for (const other of entities) if (others.includes(other.name)) on.add(other);
      for (const { entity, input } of boxes) input.checked = on.has(entity);
      const withTime = [...on].filter((entity) => entity.has_time);
      show(days, withTime.length);
      set(timed, fill(t.timed, write.list(withTime.map(({ name }) => plain(name)))));
      for (const filter of filters) show(filter.node, on.has(filter.entity));
    };
    settle();
    const nodes = filters.map(({ node }) => node);
    this.#ui.parts.append(el('fieldset', {}, el('legend', t.which), ...boxes.map(({ node }) => node), needed), days, ...nodes);
    return { boxes, days, from: from.input, to: to.input, filters };
  }

  /** Returns the part that is chosen; while the fields are closed, the whole. */
  #scope() {
    if (!this.#part) return {};
    const { boxes, days, from, to, filters } = this.#part;
    const names = boxes.filter(({ input }) => input.checked).map(({ entity }) => entity.name);
    // Days begin and end where the person is.
    const midnight = (day, after) => {
      const at = new Date(`${day}T00:00`);
      at.setDate(at.getDate() + after);
      return at.toISOString();
    };
    const scope = {};
    if (names.length < boxes.length) scope.entities = names;
    if (!days.hidden && from.value) scope.since = midnight(from.value, 0);
    if (!days.hidden && to.value) scope.until = midnight(to.value, 1);
    for (const { entity, column, input, node } of filters) {
      const values = input.value.split(',').map((value) => value.trim()).filter(Boolean);
      if (!node.hidden && values.length) ((scope.filters ??= {})[entity.name] ??= {})[column] = values;
    }
    return scope;
  }

  /** Returns a text with the part that an export is. */
  describe({ entities, since, until, filters = {} }) {
    const { t, write } = this;
    const columns = Object.entries(filters).flatMap(([entity, of]) =>
      Object.entries(of).map(([column, values]) => `${plain(entity)}, ${plain(column)}: ${write.list(values)}`));
    return [
      entities && write.list(entities.map(plain)),
      since && `${t.from}: ${write.time(since)}`,
      until && `${t.before}: ${write.time(until)}`,
      ...columns,
    ].filter(Boolean).join('; ');
  }

  async withdraw({ id }) {
    await this.#call(`/v1/exports/${id}/withdraw`, { method: 'POST' });
    this.#take(await this.#json(`/v1/exports/${id}`));
    return true;
  }

  /** The link to the store is made for this click. */
  async download({ id }) {
    const { url } = await this.#json(`/v1/exports/${id}/download`, { headers: { accept: 'application/json' } });
    el('a', { href: url, rel: 'noreferrer' }).click();
  }

  /** A signed text that says what was delivered. It is saved from here, because its call needs the token. */
  async receipt({ id }) {
    const answer = await this.#call(`/v1/exports/${id}/receipt`);
    const href = URL.createObjectURL(await answer.blob());
    el('a', { href, download: `data-export-receipt-${id}.jws` }).click();
    setTimeout(() => URL.revokeObjectURL(href), 60_000);
  }

  async #more() {
    this.#paged = true;
    this.#next = (await this.#page(this.#next)).next;
    this.#render();
  }

  #leave() {
    history.replaceState(null, '', location.pathname);
    this.#target = undefined;
    this.#render();
  }

  async #signOut() {
    await this.#call('/v1/sessions/current', { method: 'DELETE' });
    throw new Refused(401);
  }

  #again() {
    this.#token = undefined;
    this.#ended = false;
    this.#render();
    this.#wake();
  }

  #tell(place, text) {
    const node = this.#ui[place];
    set(node, text);
    show(node, text);
  }

  #fail({ status, seconds, problem }, place) {
    const { t, write } = this;
    if (status === 401) {
      this.#ended = true;
      this.#forget();
      return this.#render();
    }
    if (!problem) return this.#tell(place, navigator.onLine ? t.away : t.offline);
    const known = { impersonated: t.acting, 404: t.gone, 429: fill(t.later, write.time(Date.now() + 1000 * seconds)) };
    this.#tell(place, known[problem.code] ?? known[status] ?? (place === 'lost' ? t.away : fill(t.error, problem.reference ?? status)));
  }

  #goTo(id) {
    const target = id === this.#target ? this.#ui.theirs : this.#cards.get(id)?.card.head;
    if (!this.#known.has(id)) return this.#tell('error', this.t.gone);
    const details = target.closest('details');
    if (details) details.open = true;
    target.focus();
    target.scrollIntoView({ block: 'center' });
  }

  #render() {
    const { t, write } = this;
    const u = this.#ui;
    const focused = this.#root.activeElement;
    const policy = this.#policy;
    const all = [...this.#known.values()].sort((a, b) => (a.requested_at < b.requested_at ? 1 : -1));
    const pending = all.filter((x) => x.status === 'pending');
    for (const x of all) {
      if (!this.#cards.has(x.id)) this.#cards.set(x.id, this.#entry());
      this.#cards.get(x.id).card.show(x);
    }
    const first = all[0] && this.#cards.get(all[0].id).card;
    if (u.top.firstChild !== (first?.node ?? null)) u.top.replaceChildren(...(first ? [first.node] : []));
    all.slice(1).forEach((x, at) => {
      const { item, summary, details, card } = this.#cards.get(x.id);
      set(summary, `${write.time(x.requested_at)} – ${t[stateOf(x)]}`);
      if (card.node.parentNode !== details) details.append(card.node);
      if (u.list.children[at] !== item) u.list.insertBefore(item, u.list.children[at]);
    });
    const theirs = this.#known.get(this.#target);
    show(u.ended, this.#ended);
    show(u.renew, this.#bearer);
    show(u.acting, policy?.acting);
    show(u.notMe, policy && theirs);
    // Of one that failed, the card itself asks again, unless it asked for what is not there.
    const again = all[0] && stateOf(all[0]) === 'failed' && all[0].reason !== 'scope_refused';
    show(u.form, policy && pending.length < policy.pending_per_user && !again);
    show(u.history, all.length > 1);
    show(u.more, this.#next);
    show(u.out, policy && this.#isPage);
    if (policy) this.#form(policy, !all.length, all[0]?.status === 'ready');
    if (theirs) {
      const open = theirs.may.includes('withdraw');
      show(u.theirActs, open);
      set(u.theirText, open ? fill(t.not_me_text, write.time(theirs.requested_at)) : t.not_me_over);
    }
    if (first) this.#announce(all[0], first);
    if (focused?.closest('[hidden]') || focused?.isConnected === false) {
      (focused.closest('section') === u.notMe ? u.theirs : first?.head ?? u.title).focus();
    }
  }

  #entry() {
    const card = new Card(this);
    const summary = el('summary');
    const details = el('details', {}, summary);
    return { card, summary, details, item: el('li', {}, details) };
  }

  #form({ entities, formats, kept_seconds: kept, start, next_night: next, acting }, isFirst, hasOne) {
    const { t, write } = this;
    const u = this.#ui;
    const night = fill(t.night, write.time(next));
    show(u.get, isFirst);
    show(u.entities, isFirst);
    set(u.get, fill(t.get, this.list(['json', 'csv'])));
    for (const box of u.boxes) show(box.parentNode, formats.includes(box.value));
    if (!u.entities.firstChild) u.entities.append(...entities.map(({ about }) => el('li', about)));
    set(u.when, `${start === 'choose' ? '' : `${t.start}: ${start === 'night' ? night : t.soon}. `}${fill(t.kept, write.days(kept))}`);
    show(u.choose, start === 'choose');
    set(u.soon.lastChild, t.soon);
    set(u.later.lastChild, night);
    show(u.parts, entities.length > 1);
    u.ask.disabled = acting;
    // Beside one that can be downloaded, a new one is the lesser wish.
    u.ask.classList.toggle('main', !hasOne);
  }

  /** Speaks when a state begins or ends, and at each quarter. */
  #announce(x, { bar, head, text }) {
    const state = stateOf(x);
    const quarter = state === 'running' && Math.floor(bar.value / 25);
    const stage = `${x.id} ${state} ${quarter}`;
    if (this.#stage && this.#stage !== stage) {
      this.say(quarter ? `${head.textContent}: ${this.write.percent(quarter / 4)}` : `${head.textContent}. ${text.textContent}`);
    }
    this.#stage = stage;
  }
}

customElements.define('data-export', DataExport);
