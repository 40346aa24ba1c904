// On the sign-in page: the address of a call is kept for after the sign-in. If this tab still has a session, go back to
// its pages. The session's token is stored for this origin, which includes the port. The cookie does not depend on the
// port.
if (location.hash.startsWith('#shell')) sessionStorage.setItem('after-sign-in', location.hash); // See address.js.
const token = sessionStorage.getItem('cpsess');
if (token && !('failed' in document.body.dataset)) {
  const answer = await fetch(`/${token}/me.json`, { redirect: 'error' }).catch(() => null);
  if (answer && answer.ok) location.replace(`/${token}/`);
  else sessionStorage.removeItem('cpsess');
}
