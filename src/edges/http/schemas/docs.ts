import { z } from 'zod';
import { defineOperation, none } from './operation.ts';

const asset = z.enum(['start.js', 'swagger-ui.css', 'swagger-ui-bundle.js']).describe('a part of the page');
export type DocsAsset = z.output<typeof asset>;

export const docs = defineOperation({
  id: 'docs',
  tag: 'About',
  method: 'GET',
  path: '/docs',
  summary: 'This document as a page',
  params: none,
  query: none,
  answers: { 200: { description: 'A page that asks no other server for anything', content: { 'text/html': null } } },
});
export const docsAsset = defineOperation({
  id: 'docsAsset',
  tag: 'About',
  method: 'GET',
  path: '/docs/{asset}',
  summary: 'What the page is made of',
  params: z.object({ asset }),
  query: none,
  answers: { 200: { description: 'The file', content: { 'text/javascript': null, 'text/css': null } } },
});
