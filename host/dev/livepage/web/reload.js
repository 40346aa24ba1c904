// Reloads the page when a file of the directory changes.
'use strict';
new EventSource('/.liveapi/changes').addEventListener('change', () => location.reload());
