// The page to sign in on, shown to somebody whose session in this tab goes on: back to its pages. The
// session's token is kept for this origin alone, which has the port in it; the cookie has not.
const token = sessionStorage.getItem('cpsess');
if (token && !('failed' in document.body.dataset)) {
  const answer = await fetch(`/${token}/me.json`, { redirect: 'error' }).catch(() => null);
  if (answer && answer.ok) location.replace(`/${token}/`);
  else sessionStorage.removeItem('cpsess');
}
