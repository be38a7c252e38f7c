import { z } from 'zod';
import { defineOperation, none } from './operation.ts';

const health = z.object({ status: z.enum(['live', 'ready', 'not-ready']) });
const url = (path: string) => z.url().meta({ examples: [`https://pacs.example${path}`] });
const about = z.object({
  name: z.string().meta({ examples: ['DagPACS'] }),
  dicomweb: url('/dicom-web'),
  custody: url('/custody/status'),
  health: url('/health/ready'),
  openapi: url('/openapi.json'),
  docs: url('/docs'),
});

export const live = defineOperation({
  id: 'live',
  tag: 'Health',
  method: 'GET',
  path: '/health/live',
  summary: 'Whether the process lives',
  params: none,
  query: none,
  answers: { 200: { description: 'It does', content: { 'application/json': health } } },
});
export const ready = defineOperation({
  id: 'ready',
  tag: 'Health',
  method: 'GET',
  path: '/health/ready',
  summary: 'Whether all listeners are up',
  params: none,
  query: none,
  answers: {
    200: { description: 'They are', content: { 'application/json': health } },
    503: { description: 'Not yet, or not any more', content: { 'application/json': health } },
  },
});
export const root = defineOperation({
  id: 'about',
  tag: 'About',
  method: 'GET',
  path: '/',
  summary: 'What this is and where its parts are',
  params: none,
  query: none,
  answers: { 200: { description: 'Absolute URLs', content: { 'application/json': about } } },
});
export const openApi = defineOperation({
  id: 'openApi',
  tag: 'About',
  method: 'GET',
  path: '/openapi.json',
  summary: 'This document',
  params: none,
  query: none,
  answers: { 200: { description: 'OpenAPI 3.1', content: { 'application/json': null } } },
});
