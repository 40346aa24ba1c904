// Rules for JavaScript: eslint's recommended rules, for the pages and for the tests' programs.
import js from '@eslint/js';
import globals from 'globals';

export default [
  js.configs.recommended,
  {
    files: ['**/*.js'],
    languageOptions: { ecmaVersion: 2022, sourceType: 'module', globals: globals.browser },
    rules: { eqeqeq: 'error', 'no-var': 'error', 'prefer-const': 'error', 'no-implied-eval': 'error' },
  },
  {
    files: ['tests/testdata/*.js'],
    languageOptions: { sourceType: 'commonjs', globals: globals.node },
  },
];
